"""The files of deploy/ fit the code, and what they are for: as much as can be told without a container engine."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from deploy import make_secrets, probe
from libs.common.settings import PORT_OFFSETS, Settings
from mien.serve import alone

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("mien")}
SERVED = {name: service["command"][1] for name, service in OURS.items() if service.get("command", [""])[0] == "serve"}
TIMED_S = 120


def tool(*command: object) -> str:
    """What a command wrote, which must have ended well."""
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=TIMED_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_compose_fits_the_schema_of_the_compose_specification() -> None:
    tool(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="docker compose is not installed",
)
@pytest.mark.parametrize("profile", ["cpu", "cuda", "embedded", "watch"])
def test_docker_compose_reads_every_profile(profile: str) -> None:
    services = tool("docker", "compose", "--profile", profile, "config", "--services").split()
    assert sorted(services) == sorted(name for name in SERVICES if profile in SERVICES[name]["profiles"])


def test_the_dockerfile_has_no_lint() -> None:
    assert tool(Path(sys.executable).with_name("hadolint"), "deploy/Dockerfile") == ""


def test_everything_that_compose_names_is_there() -> None:
    for name, service in SERVICES.items():
        for kind, used in {
            "secrets": [one["source"] if isinstance(one, dict) else one for one in service.get("secrets", [])],
            "configs": [one["source"] for one in service.get("configs", [])],
            "networks": list(service.get("networks", [])),
            "volumes": [one.split(":")[0] for one in service.get("volumes", []) if one[0] != "."],
            "services": list(service.get("depends_on", {})),
        }.items():
            assert set(used) <= set(COMPOSE[kind]), (name, kind)
    for config in COMPOSE["configs"].values():
        assert (ROOT / config["file"]).is_file()


def test_every_service_is_served_once_for_a_processor_and_once_for_a_gpu() -> None:
    for profile in ("cpu", "cuda"):
        assert sorted(SERVED[name] for name in SERVED if profile in OURS[name]["profiles"]) == sorted(PORT_OFFSETS)


def test_no_image_is_whatever_is_newest_and_no_container_can_do_more_than_it_must() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":\$\{MIEN_VERSION:-\d+\.\d+\.\d+\}$|:v?\d+\.\d+\.\d+(-[a-z-]+)?$", service["image"]), name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "user" in service or name == "s3_volumes", name
    assert {service["user"] for service in OURS.values()} == {"10001:10001"}


def test_who_meets_what_strangers_send_knows_no_database_and_no_key_of_secrets() -> None:
    known = {service: {one["source"] for one in OURS[name]["secrets"]} for name, service in SERVED.items()}
    assert known["remote_sdk"] == {"bus_url", "s3_key", "s3_secret"}
    assert known["gateway"] == {"bus_url", "redis_url", "s3_key", "s3_secret"}
    assert {service for service in known if "secret_key" in known[service]} == {"handlers", "sender"}


def test_only_the_gateway_is_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"gateway", "embedded", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert not [name for name in ("mongo", "redis", "rabbitmq", "s3") if "outside" in SERVICES[name]["networks"]]


def test_what_lasts_is_waited_for_and_what_is_waited_for_says_when_it_is_well() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], (name, needed)
    for name, service in SERVED.items():
        assert SERVICES[name]["healthcheck"]["test"][-1] == str(5000 + PORT_OFFSETS[service])


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    make_secrets.main(folder)
    return folder


def test_the_secrets_that_compose_mounts_are_those_that_are_made_and_making_them_again_keeps_them(
    secrets: Path,
) -> None:
    mounted = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} | {"garage.env"}
    made = {path.name: path.read_text() for path in secrets.iterdir()}
    assert mounted <= set(made)
    (secrets / "redis_url").unlink()
    make_secrets.main(secrets)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == made
    assert secrets.stat().st_mode & 0o077 == 0
    assert made["mongo_password"] in made["mongo_url"]


@pytest.mark.parametrize("name", SERVED)
def test_each_service_accepts_the_settings_that_compose_gives_it(
    name: str, secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in OURS[name]["secrets"]:
        (tmp_path / one["target"]).write_text(
            (secrets / Path(COMPOSE["secrets"][one["source"]]["file"]).name).read_text()
        )
    monkeypatch.setenv("MIEN_SECRETS_DIR", str(tmp_path))
    for variable, value in OURS[name]["environment"].items():
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)))
    settings = Settings()
    alone(settings, SERVED[name])
    for service in set(SERVED.values()) - {"gateway"}:
        [url] = settings.urls_of(service)
        assert url == f"http://{service}:{settings.port_of(service)}"
        assert service in SERVICES or service == "remote_sdk"
    assert "password" not in str(OURS[name]["environment"]).lower()


def test_every_file_of_the_packages_is_in_the_wheel(tmp_path: Path) -> None:
    tool(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path)
    [wheel] = tmp_path.glob("mien-*.whl")
    folders = [ROOT / package for package in ("libs", "services", "mien")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {str(path.relative_to(ROOT)) for path in files} <= set(zipfile.ZipFile(wheel).namelist())


def expressions() -> Iterator[tuple[str, str]]:
    for dashboard in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(dashboard.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{dashboard.stem}: {panel['title']}", target["expr"]
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


METRICS = runpy.run_path(str(ROOT / "docs" / "tables.py"))["metrics"]()
FOREIGN = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
SCRAPED = {"job", "instance"}
"""Labels that Prometheus itself adds."""


def labels_of(name: str) -> set[str] | None:
    """Of a metric as Prometheus stores it; None when there is none of that name."""
    if name in FOREIGN:
        return SCRAPED
    if name in METRICS:
        return {*METRICS[name]._labelnames, *SCRAPED}
    base, _, ending = name.rpartition("_")
    if ending in ("bucket", "sum", "count") and base in METRICS:
        return {*METRICS[base]._labelnames, *SCRAPED, *(["le"] if ending == "bucket" else [])}
    return None


def selectors_in(expression: Any) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(expression, visit)
    return found


def grouped_in(expression: Any) -> Iterator[tuple[set[str], list[promql_parser.VectorSelector]]]:
    """The labels of each ``by``, and what it is applied to."""
    found: list[Any] = []
    promql_parser.walk(expression, lambda node: found.append(node))
    for node in found:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            yield set(node.modifier.labels), selectors_in(node.expr)


def test_every_metric_and_label_that_is_shown_or_alarmed_about_exists() -> None:
    for where, expression in expressions():
        parsed = promql_parser.parse(expression)
        for selector in selectors_in(parsed):
            labels = labels_of(selector.name)
            assert labels is not None, f"{where}: there is no metric {selector.name}"
            assert {matcher.name for matcher in selector.matchers.matchers} <= labels, where
        for grouped, selectors in grouped_in(parsed):
            assert all(grouped <= (labels_of(selector.name) or set()) for selector in selectors), where


def test_the_dashboards_show_what_an_operator_must_know() -> None:
    shown = {selector.name for _, each in expressions() for selector in selectors_in(promql_parser.parse(each))}
    assert {
        "mien_http_requests_total",
        "mien_bus_waiting",
        "mien_bus_oldest_seconds",
        "mien_bus_buried",
        "mien_sdk_batch_size_sum",
        "mien_sdk_batch_seconds_bucket",
        "mien_matcher_lag_revisions",
        "mien_outbox_age_seconds",
        "mien_loop_lag_seconds_bucket",
    } <= shown


def test_prometheus_asks_every_service_at_its_port() -> None:
    jobs = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    ports = {job["job_name"]: job["dns_sd_configs"][0]["port"] for job in jobs}
    assert {name: 5000 + offset for name, offset in PORT_OFFSETS.items()}.items() <= ports.items()


def test_a_container_is_well_when_its_service_says_so() -> None:
    answers = iter([(200, {}), (503, {"bus": "connection lost"})])

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz?own=1"
            status, missing = next(answers)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(missing).encode())

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = HTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    codes = [probe.main(server.server_port) for _ in range(2)]
    server.shutdown()
    server.server_close()
    assert [*codes, probe.main(server.server_port)] == [0, 1, 1]
