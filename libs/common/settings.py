"""Settings: the environment first, then files of secrets. Read here and nowhere else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from libs.common.wire.base import Commas


def _address(*schemes: str) -> AfterValidator:
    """Checks that a setting is a URL with one of ``schemes`` and a host: clients fail at others late, in silence, or
    with a part of the password in what they say."""

    def check(value: str | SecretStr) -> str | SecretStr:
        parts = urlsplit(value.get_secret_value() if isinstance(value, SecretStr) else value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"should be an address such as {schemes[0]}://host")
        if not _has_number(parts) or "@" in parts.path + parts.fragment:
            raise ValueError(
                "should have a number behind its host; in a password / ? # @ : are written as %2F and so on"
            )
        return value

    return AfterValidator(check)


def _has_number(address: SplitResult) -> bool:
    """Whether its port is one, or is left out."""
    try:
        return address.port is None or address.port > 0
    except ValueError:
        return False


BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""As every S3 server takes it; an address, say, is none."""


def _bucket(text: str) -> str:
    """Raises ValueError."""
    if not BUCKET.fullmatch(text):
        raise ValueError("should be the name of a bucket, 3 to 63 of a-z, 0-9, - and .")
    return text


def _network(text: str) -> str:
    """Raises ValueError naming it."""
    ip_network(text, strict=False)
    return text


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


HTTP = ("http", "https")
Addresses = Annotated[list[Annotated[str, _address(*HTTP)]], NoDecode, Commas]

HIDDEN = "***"

PORT_OFFSETS = {
    "gateway": 0,
    "image_store": 20,
    "faces": 30,
    "events": 40,
    "handlers": 90,
    "matcher": 100,
    "sender": 180,
    "remote_sdk": 220,
}
"""Distance of each service's conventional port from the gateway's."""


class FromEnvironment(BaseSettings):
    """Settings out of environment variables; one that is not set may be a file of its name in MIEN_SECRETS_DIR
    (default /run/secrets, where containers are given theirs). An empty one is as good as not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = os.environ.get("MIEN_SECRETS_DIR", "/run/secrets")
        files = (SecretsSettingsSource(settings_cls, folder),) if Path(folder).is_dir() else ()
        return (init_settings, env_settings, *files)


def wrong_variables(error: ValidationError) -> str:
    """One line that says which variables were wrong, and how: ``MIEN_SDK_WORKERS: Input should be ...``."""
    prefixes = {each.__name__: each.model_config.get("env_prefix", "") for each in FromEnvironment.__subclasses__()}
    prefix = prefixes.get(error.title, "")
    lines = [(str(each["loc"][0]), each["msg"].removeprefix("Value error, ")) for each in error.errors()[:5]]
    return "; ".join(f"{name if name.startswith('MIEN_') else prefix + name.upper()}: {said}" for name, said in lines)


class SdkSettings(FromEnvironment):
    """remote_sdk. ``device`` and ``precision`` that cannot be had are a refusal to start."""

    model_config = SettingsConfigDict(env_prefix="MIEN_SDK_", validate_by_name=True, validate_by_alias=True)

    models_dir: Path = Field(
        default=Path("models"),
        validation_alias=AliasChoices("MIEN_SDK_MODELS_DIR", "MIEN_MODELS_DIR"),
        description="folder of the optional models (mien models); also MIEN_MODELS_DIR",
    )
    prefer: Annotated[list[str], NoDecode, Commas] = Field(
        default=[], description="models, by name, that fill their slots before any other"
    )
    face_version: int | None = Field(
        default=None,
        ge=1,
        description="version of face descriptors, 1001 unless set: its model describes faces, and every service"
        " matches by it",
    )
    body_version: int | None = Field(default=None, ge=1, description="likewise of bodies, 2001 unless set")
    engine: Literal["auto", "openvino", "onnxruntime"] = Field(
        default="auto", description="what runs the optional models; auto: openvino where it is installed"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: cuda where there is one")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 where it is native")
    decode: Literal["processes", "device"] = Field(
        default="processes",
        description="what decodes JPEGs; device: the GPU itself (mien[gpu]), which does not notice damage inside a"
        " picture, and whose decoder crashes with the service",
    )
    workers: int = Field(default=0, ge=0, le=256, description="compute threads; 0 = one per core, 4 for a GPU")
    detect_long_side: int | None = Field(
        default=None, ge=80, le=8000, description="pixels the picture is scaled to; unset: what suits the detector"
    )
    detect_pyramid: float = Field(
        default=2 / 3, gt=0.3, lt=1, description="scale from one pyramid level to the next (dlib-mmod)"
    )
    detect_threshold: float | None = Field(
        default=None, ge=-1, le=10, description="score a face must reach, the detector's own; unset: what suits it"
    )
    queue_limit: int = Field(default=256, ge=1, description="pictures waiting before the door answers 503")
    queue_age_s: float = Field(default=30.0, gt=0, description="how long a picture may wait before it is answered 503")
    max_image_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, description="of one encoded picture")
    max_image_pixels: int = Field(default=50_000_000, ge=1024, description="of one decoded picture")
    max_images: int = Field(default=100, ge=1, description="pictures in one call")
    allow: Annotated[list[Literal["emotion", "ethnicity"]], NoDecode, Commas] = Field(
        default=[], description="sensitive estimators the operator allows: ethnicity, emotion"
    )


class FetchSettings(FromEnvironment):
    """Pictures fetched from the web; off unless ``allow_urls``."""

    model_config = SettingsConfigDict(env_prefix="MIEN_FETCH_")

    allow_urls: bool = Field(default=False, description="fetch pictures from, and make callbacks to, users' URLs")
    allow_networks: Annotated[list[Annotated[str, AfterValidator(_network)]], NoDecode, Commas] = Field(
        default=[], description="private CIDR ranges that may be fetched from all the same, e.g. 192.168.7.0/24"
    )
    max_bytes: int = Field(default=32 * 1024 * 1024, ge=1, description="of one fetched picture")
    max_redirects: int = Field(default=3, ge=0, le=20, description="followed, each checked like the first URL")
    timeout_s: float = Field(default=10.0, gt=0, description="for one fetch, redirects included")


class SenderSettings(FromEnvironment):
    """Who is told of events: WebSocket subscribers and the receivers of HTTP callbacks."""

    model_config = SettingsConfigDict(env_prefix="MIEN_SENDER_")

    frame: Literal["wrapped", "flat"] = Field(
        default="wrapped", description="an event's own fields in a frame: under `event`, or beside the others"
    )
    max_subscribers: int = Field(default=10_000, ge=1, description="WebSocket connections of one process")
    max_per_account: int = Field(default=100, ge=1, description="of them, those of one account")
    slow_s: float = Field(default=10.0, gt=0, le=20, description="how long a subscriber may not take a frame")
    log_entries: int = Field(default=10_000, ge=1, description="events of one account kept for subscribers to resume")
    log_bytes: int = Field(default=64 * 1024 * 1024, ge=16 * 1024 * 1024, description="and at most so many bytes")
    log_age_s: float = Field(default=86_400, gt=0, description="and at most so long")
    callbacks_at_once: int = Field(default=64, ge=1, le=1024, description="HTTP callbacks of one process under way")
    callback_attempts: int = Field(default=16, ge=1, description="before a callback becomes a dead letter")
    callback_age_s: float = Field(default=86_400, gt=0, description="after which it does, however often it was tried")
    callback_wait_s: float = Field(default=1.0, gt=0, description="before the second attempt; it doubles with each")
    callback_longest_wait_s: float = Field(default=600.0, gt=0, description="but is never longer than this")
    callback_secret: SecretStr | None = Field(
        default=None, description="whsec_<base64>: signs callbacks that have no secret of their own"
    )


class StorageSettings(FromEnvironment):
    """Where things are kept and what services talk over. What is not named is embedded: files under the data folder."""

    model_config = SettingsConfigDict(env_prefix="MIEN_")

    data_dir: Path = Field(default=Path("data"), description="folder of every embedded store")
    durable: bool = Field(default=True, description="wait for the disk on every commit")
    bus_url: Annotated[SecretStr, _address("amqp", "amqps")] | None = Field(
        default=None, description="amqp://user:password@host/vhost; else SQLite"
    )
    mongo_url: SecretStr | None = Field(default=None, description="mongodb://host/database; else SQLite")
    redis_url: Annotated[SecretStr, _address("redis", "rediss")] | None = Field(
        default=None, description="redis://host/0; else SQLite and memory"
    )
    s3_url: Annotated[str, _address(*HTTP)] | None = Field(
        default=None, description="endpoint of any S3 server; else files"
    )
    s3_bucket: Annotated[str, AfterValidator(_bucket)] = Field(
        default="mien", description="must exist, or be creatable by `mien migrate`"
    )
    s3_region: str = Field(default="us-east-1", description="as the S3 server wants it in signatures")
    s3_key: SecretStr | None = Field(default=None, description="access key id")
    s3_secret: SecretStr | None = Field(default=None, description="secret access key")
    secret_key: SecretStr | None = Field(
        default=None,
        description="seals callbacks' passwords and secrets: 32 bytes in URL-safe base64, the newest of several first,"
        " separated by commas; else made once and kept in `secret.key` of the data folder",
    )


class Settings(FromEnvironment):
    """The suite, and each service of it."""

    model_config = SettingsConfigDict(env_prefix="MIEN_")

    host: str = Field(default="127.0.0.1", description="address every service listens on")
    port: int = Field(default=5000, ge=0, le=65000, description="the gateway's; services' follow; 0 = free ones")
    gateway_port: int | None = None
    image_store_port: int | None = None
    faces_port: int | None = None
    events_port: int | None = None
    handlers_port: int | None = None
    matcher_port: int | None = None
    sender_port: int | None = None
    remote_sdk_port: int | None = None
    image_store_urls: Addresses = Field(default=[], description="where its processes listen, comma separated")
    faces_urls: Addresses = []
    events_urls: Addresses = []
    handlers_urls: Addresses = []
    matcher_urls: Addresses = []
    sender_urls: Addresses = []
    remote_sdk_urls: Addresses = []
    calls: Literal["local", "http"] = Field(default="local", description="how services call each other")
    max_body_bytes: int = Field(default=128 * 1024 * 1024, ge=1024, description="of one request")
    rate_per_s: float = Field(
        default=0, ge=0, le=100_000, description="requests a second that the gateway takes from one account; 0 = any"
    )
    rate_burst: int = Field(default=100, ge=1, le=1_000_000, description="of them at once, before the rate counts")
    drain_s: float = Field(
        default=20,
        ge=0,
        le=600,
        description="after SIGTERM: for requests that have come and work that was taken; closing takes up to 10 more",
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = Field(
        default="WARNING", description="DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Literal["json", "text"] = Field(default="json", description="lines for machines or for people")
    traces_url: Annotated[str, _address(*HTTP)] | None = Field(
        default=None, description="OTLP/HTTP, e.g. http://collector:4318/v1/traces; else off"
    )
    traces_share: float = Field(default=1.0, ge=0, le=1, description="part of the traces begun here that is kept")
    storage: StorageSettings = Field(default_factory=StorageSettings)
    sdk: SdkSettings = Field(default_factory=SdkSettings)
    fetch: FetchSettings = Field(default_factory=FetchSettings)
    sender: SenderSettings = Field(default_factory=SenderSettings)

    @model_validator(mode="after")
    def _addresses_are_known(self) -> Self:
        if self.calls == "http" and not self.port:
            raise ValueError("MIEN_CALLS=http needs a MIEN_PORT: services must know each other's addresses")
        return self

    def port_of(self, service: str) -> int:
        """The port a service listens on: its own setting, else the gateway's plus the conventional distance.

        With ``port`` 0 every service takes a free one.
        """
        own = getattr(self, f"{service}_port")
        return own if own is not None else self.port and self.port + PORT_OFFSETS[service]

    def urls_of(self, service: str) -> list[str]:
        """Where the processes of a service listen: as set, else one at its usual port of this host."""
        return getattr(self, f"{service}_urls") or [f"http://{self.host}:{self.port_of(service)}"]


def effective(settings: BaseSettings) -> dict[str, Any]:
    """Every environment variable and what it amounts to, as plain data. Passwords and keys are hidden."""
    return dict(_effective(settings))


def _effective(settings: BaseSettings) -> Iterator[tuple[str, Any]]:
    prefix = settings.model_config.get("env_prefix", "")
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseSettings):
            yield from _effective(value)
        else:
            yield f"{prefix}{name}".upper(), _shown(value)


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return without_secrets(secret) if "://" in secret else HIDDEN
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if isinstance(value, str) and "://" in value:
        return without_secrets(value)
    return str(value) if isinstance(value, Path) else value


_URL = re.compile(
    r"(?P<scheme>[^:/?#]*://)(?:(?P<user>[^:@?#]*)(?P<password>:.*)?@)?(?P<place>[^?#]*)(?P<rest>.*)", re.S
)
"""Whatever stands before the last ``@`` is a password, also one that should have been percent-encoded."""


def without_secrets(url: str) -> str:
    """``amqp://user:***@host/vhost?***``: where an address leads, without its password and options."""
    parts = _URL.fullmatch(url)
    if parts is None:
        return HIDDEN
    user, password, rest = parts["user"], parts["password"], parts["rest"]
    who = "" if user is None else f"{user}:{HIDDEN}@" if password else f"{user}@"
    return f"{parts['scheme']}{who}{parts['place']}{f'?{HIDDEN}' if rest else ''}"
