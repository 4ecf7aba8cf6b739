"""The same servers in containers, for machines with a Docker engine where they are not installed.

Written against testcontainers 4 and not yet run by us: no Docker engine was at hand.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from testcontainers.core.container import DockerContainer

from deploy.local.child import Child, accepts, free_port
from deploy.local.mongo import REPLICA_SET, Mongo
from deploy.local.rabbit import Rabbit
from deploy.local.redis import DATABASES, Redis
from deploy.local.s3 import KEY, S3, SECRET
from deploy.local.server import NotInstalled


@cache
def _engine() -> bool:
    """Whether there is one, as its own program says: docker-py leaves a socket open when there is none."""
    return bool(shutil.which("docker")) and not subprocess.run(["docker", "info"], capture_output=True).returncode


class Container(Child):
    """A container whose ports are the same at every start. What it wrote stays in it until it is removed.

    Raises NotInstalled without a Docker engine.
    """

    def __init__(
        self, image: str, ports: Mapping[int, int], command: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        if not _engine():
            raise NotInstalled("no Docker engine")
        self.name = image
        self._container = DockerContainer(image).with_command(command)
        for inside, outside in ports.items():
            self._container.with_bind_ports(inside, outside)
        for name, value in (environment or {}).items():
            self._container.with_env(name, value)
        self._made = False

    def is_running(self) -> bool:
        if not self._made:
            return False
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return wrapped.status == "running"

    @property
    def exit_status(self) -> int | None:
        return self._container.get_wrapped_container().wait()["StatusCode"] if not self.is_running() else None

    def start(self) -> None:
        if self._made:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._made = True

    def stop(self, grace_s: float = 30.0) -> int | None:
        self._container.get_wrapped_container().stop(timeout=int(grace_s))
        return self.exit_status

    def kill(self) -> int | None:
        if self.is_running():
            self._container.get_wrapped_container().kill()
        return self.exit_status

    def last_words(self) -> str:
        return self._container.get_wrapped_container().logs(tail=30).decode(errors="replace")


class RabbitContainer(Rabbit):
    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self._management = folder, free_port(), free_port()
        self._child = Container("rabbitmq:4-management", {5672: self.port, 15672: self._management})

    @property
    def children(self) -> list[Child]:
        return [self._child]


class RedisContainer(Redis):
    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        options = f"--databases {DATABASES} --appendonly yes --appendfsync always"
        self._child = Container("redis:7", {6379: self.port}, f"redis-server {options}")


class MongoContainer(Mongo):
    """Listens on the same port inside as outside: a member of a replica set must reach itself by its address."""

    is_mongod = True

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        options = f"--replSet {REPLICA_SET} --bind_ip_all --port {self.port}"
        self._child = Container("mongo:7", {self.port: self.port}, f"mongod {options}")


class MinioContainer(S3):
    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        secrets = {"MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET}
        self._child = Container("minio/minio", {9000: self.port}, "server /data", secrets)

    @property
    def children(self) -> list[Child]:
        return [self._child]

    def answers(self) -> bool:
        return accepts(self.port)
