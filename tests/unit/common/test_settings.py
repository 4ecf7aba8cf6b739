"""Settings: out of the environment and out of files, shown without secrets."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from libs.common.settings import Settings, effective, without_secrets, wrong_variables
from mien.cli import app


def test_a_secret_may_be_a_file_and_the_environment_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "MIEN_MONGO_URL").write_text("mongodb://mien:from-a-file@mongo/mien\n")
    (tmp_path / "mien_s3_secret").write_text("from-a-file")
    monkeypatch.setenv("MIEN_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("MIEN_S3_SECRET", "from-the-environment")
    storage = Settings().storage
    assert storage.mongo_url
    assert storage.s3_secret
    assert storage.mongo_url.get_secret_value() == "mongodb://mien:from-a-file@mongo/mien"
    assert storage.s3_secret.get_secret_value() == "from-the-environment"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MIEN_PORT", "banana", "should be a valid integer"),
        ("MIEN_SDK_WORKERS", "many", "should be a valid integer"),
        ("MIEN_SDK_ALLOW", "emotions", "should be 'emotion' or 'ethnicity'"),
        ("MIEN_EVENTS_URLS", "events", "should be an address"),
        ("MIEN_FETCH_ALLOW_NETWORKS", "home", "does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_as_it_was_given(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as wrong:
        Settings()
    line = wrong_variables(wrong.value)
    assert line.startswith(f"{name}: ")
    assert said in line


def test_an_empty_setting_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_BUS_URL", "")
    monkeypatch.setenv("MIEN_FACES_URLS", "")
    settings = Settings()
    assert (settings.storage.bus_url, settings.faces_urls) == (None, [])


def test_what_is_in_effect_is_shown_without_passwords_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_BUS_URL", "amqp://mien:s3cr3t@broker:5672/vhost")
    monkeypatch.setenv(
        "MIEN_MONGO_URL", "mongodb://mien:s3cr3t@a:1,b:2/mien?replicaSet=rs&tlsCertificateKeyFilePassword=s3cr3t"
    )
    monkeypatch.setenv("MIEN_REDIS_URL", "redis://:s3cr3t@cache/0")
    monkeypatch.setenv("MIEN_S3_KEY", "s3cr3t")
    monkeypatch.setenv("MIEN_S3_SECRET", "s3cr3t")
    monkeypatch.setenv("MIEN_TRACES_URL", "http://user:s3cr3t@collector/v1/traces")
    monkeypatch.setenv("MIEN_EVENTS_URLS", "http://a:1,http://user:s3cr3t@b:2")
    shown = effective(Settings())
    assert "s3cr3t" not in str(shown)
    assert shown["MIEN_BUS_URL"] == "amqp://mien:***@broker:5672/vhost"
    assert shown["MIEN_MONGO_URL"] == "mongodb://mien:***@a:1,b:2/mien?***"
    assert shown["MIEN_REDIS_URL"] == "redis://:***@cache/0"
    assert shown["MIEN_EVENTS_URLS"] == ["http://a:1", "http://user:***@b:2"]
    assert shown["MIEN_S3_KEY"] == "***"
    assert shown["MIEN_SDK_QUEUE_LIMIT"] == 256


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mongodb://mien:s3/cr3t@mongo/mien", "mongodb://mien:***@mongo/mien"),
        ("mongodb://mien:s3#cr3t@a:1,b:2/mien", "mongodb://mien:***@a:1,b:2/mien"),
        ("redis://:s3?cr3t@cache/0", "redis://:***@cache/0"),
        ("amqp://us/er:s3cr3t@broker/", "amqp://us/er:***@broker/"),
        ("http://collector/v1/traces?key=s3@cr3t", "http://collector/v1/traces?***"),
        ("amqp://mien:1/s3@cr3t@broker/%2F", "amqp://mien:***@broker/%2F"),
        ("http://collector/v1/traces?key=s3cr3t", "http://collector/v1/traces?***"),
        ("http://collector/v1/traces#s3cr3t", "http://collector/v1/traces?***"),
    ],
)
def test_a_password_is_hidden_also_where_it_should_have_been_percent_encoded(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize("url", ["http://host/path", "amqp://user@host/%2F", "http://[::1]:5000"])
def test_an_address_without_secrets_is_shown_as_it_is(url: str) -> None:
    assert without_secrets(url) == url


def test_the_command_line_prints_what_is_in_effect_as_an_environment_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_BUS_URL", "amqp://mien:s3cr3t@broker/")
    monkeypatch.setenv("MIEN_FACES_URLS", "http://a:1,http://b:2")
    shown = CliRunner().invoke(app, ["config"])
    assert shown.exit_code == 0
    lines = dict(line.split("=", 1) for line in shown.stdout.splitlines())
    assert lines["MIEN_BUS_URL"] == "amqp://mien:***@broker/"
    assert lines["MIEN_FACES_URLS"] == "http://a:1,http://b:2"
    assert (lines["MIEN_DURABLE"], lines["MIEN_MONGO_URL"]) == ("true", "")
    as_json = CliRunner().invoke(app, ["config", "--json"])
    assert json.loads(as_json.stdout)["MIEN_FACES_URLS"] == ["http://a:1", "http://b:2"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MIEN_BUS_URL", "broker:5672"),
        ("MIEN_BUS_URL", "http://s3cr3t@broker"),
        ("MIEN_BUS_URL", "amqp://mien:s3cr3t/s3cr3t@broker"),
        ("MIEN_BUS_URL", "amqp://mien:1/s3cr3t@broker"),
        ("MIEN_REDIS_URL", "redis://mien:1#s3cr3t@cache"),
        ("MIEN_REDIS_URL", "cache:6379/0"),
        ("MIEN_S3_URL", "s3.example"),
        ("MIEN_TRACES_URL", "collector:4318"),
        ("MIEN_S3_BUCKET", "https://s3.example/pictures"),
        ("MIEN_S3_BUCKET", "Pictures"),
        ("MIEN_FACES_URLS", "http://a:1,b:2"),
        ("MIEN_FETCH_ALLOW_NETWORKS", "10.0.0.0/8,ours"),
        ("MIEN_LOG_LEVEL", "loud"),
    ],
)
def test_a_setting_that_would_fail_late_or_in_silence_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    refused = CliRunner().invoke(app, ["config"])
    assert (refused.exit_code, "s3cr3t" in refused.output) == (2, False)
    field = name.removeprefix("MIEN_").removeprefix("FETCH_").lower()
    assert field in refused.output.lower()
