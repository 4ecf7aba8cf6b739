"""Every service of the suite in processes of its own, over real servers: all on loopback, all in one folder."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import urlsafe_b64encode
from collections import ChainMap
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deploy.local.child import Child, DidNotStart, free_port
from deploy.local.mongo import Mongo
from deploy.local.rabbit import Rabbit
from deploy.local.redis import Redis
from deploy.local.s3 import KEY, S3, SECRET, Ceph, Moto
from deploy.local.server import NotInstalled, Server
from deploy.local.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("image_store", "faces", "events", "sender", "remote_sdk", "matcher", "handlers")
"""Behind the gateway."""

BUCKET = "mien"
SECRET_KEY = urlsafe_b64encode(b"of a suite that one machine runs").decode()
"""What seals callbacks' passwords here. No secret: whoever reads this machine's memory has them anyway."""
READY_S = 180.0
"""For all services together: on two cores, fifteen processes import and warm up at once."""
MIGRATE_S = 120.0
STOP_S = 40.0


def copies_of_each(count: int) -> dict[str, int]:
    """``count`` processes of each service, and one gateway."""
    return {**dict.fromkeys(SERVICES, count), "gateway": 1}


@dataclass(frozen=True)
class Process:
    """One process of a service."""

    service: str
    url: str
    child: Child

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


def object_store(folder: Path, kind: str = "auto") -> S3:
    """``ceph``, ``moto``, or (``auto``) the first of them that is installed. Raises NotInstalled."""
    if kind == "moto":
        return Moto(folder)
    try:
        return Ceph(folder)
    except NotInstalled:
        if kind == "ceph":
            raise
        return Moto(folder)


class ScaledSuite:
    """RabbitMQ, Redis, MongoDB, S3 and processes of every service, kept running by a supervisor.

    ``copies`` are the processes of each service; without it two of each and one gateway. ``environment`` is what every
    service is given; change it before ``start``. ``say`` is told in words what happens.
    Raises NotInstalled when a server cannot be had.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        s3: str = "auto",
        copies: Mapping[str, int] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.folder = folder
        self._say = say
        self.rabbit = Rabbit(folder / "rabbit")
        self.redis = Redis(folder / "redis")
        self.mongo = Mongo(folder / "mongo")
        self.s3 = object_store(folder / "s3", s3)
        self.supervisor = Supervisor(say)
        urls = {
            service: [
                f"http://127.0.0.1:{port if service == 'gateway' and port else free_port()}" for _ in range(count)
            ]
            for service, count in (copies or copies_of_each(2)).items()
        }
        self.environment = self._settings(urls)
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self.processes = [
            self._process(service, number, url)
            for service, addresses in urls.items()
            for number, url in enumerate(addresses, 1)
        ]

    def _settings(self, urls: Mapping[str, list[str]]) -> dict[str, str]:
        """What every service is told: where the servers are, and where the services listen."""
        return {
            "MIEN_HOST": "127.0.0.1",
            "MIEN_DATA_DIR": str(self.folder / "data"),
            "MIEN_BUS_URL": self.rabbit.url,
            "MIEN_MONGO_URL": self.mongo.url,
            "MIEN_REDIS_URL": self.redis.url,
            "MIEN_S3_URL": self.s3.url,
            "MIEN_S3_BUCKET": BUCKET,
            "MIEN_S3_KEY": KEY,
            "MIEN_S3_SECRET": SECRET,
            "MIEN_SECRET_KEY": SECRET_KEY,
            "OMP_NUM_THREADS": "1",
            **{f"MIEN_{service.upper()}_URLS": ",".join(some) for service, some in urls.items()},
        }

    def _process(self, service: str, number: int, url: str) -> Process:
        name = f"{service}-{number}"
        child = Child(
            name,
            [sys.executable, "-m", "mien", "serve", service],
            log=self._logs / f"{name}.log",
            environment=ChainMap({f"MIEN_{service.upper()}_PORT": url.rsplit(":", 1)[1]}, self.environment),
            folder=ROOT,
        )
        return Process(service, url, child)

    @property
    def servers(self) -> dict[str, Server]:
        return {"rabbit": self.rabbit, "redis": self.redis, "mongo": self.mongo, "s3": self.s3}

    @property
    def url(self) -> str:
        """The gateway's."""
        return self.of("gateway")[0].url

    @property
    def services(self) -> list[str]:
        return list(dict.fromkeys(process.service for process in self.processes))

    def of(self, service: str) -> list[Process]:
        return [process for process in self.processes if process.service == service]

    def start(self) -> Self:
        """Start everything and wait until the gateway says that all is ready. Raises DidNotStart, and stops then."""
        try:
            self._start_servers()
            self._migrate()
            for process in self.processes:
                process.child.start()
            for process in self.processes:
                process.child.wait_until(process.is_ready, READY_S)
        except BaseException:
            self.stop()
            raise
        for server in self.servers.values():
            self.supervisor.watch(*server.children)
        self.supervisor.watch(*(process.child for process in self.processes))
        self.supervisor.start()
        return self

    def _start_servers(self) -> None:
        """All at once: RabbitMQ and Ceph take their seconds."""
        for server in self.servers.values():
            if server.remark:
                self._say(server.remark)
        with ThreadPoolExecutor() as threads:
            for started in [threads.submit(server.start) for server in self.servers.values()]:
                started.result()
        self.s3.add_bucket(BUCKET)

    def _migrate(self) -> None:
        log = self._logs / "migrate.log"
        with log.open("ab") as stream:
            status = subprocess.run(
                [sys.executable, "-m", "mien", "migrate"],
                env={**os.environ, **self.environment},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                timeout=MIGRATE_S,
                check=False,
            ).returncode
        if status:
            raise DidNotStart(f"mien migrate ended with {status}:\n{log.read_text(errors='replace')[-3000:]}")

    def halt(self, server: Server) -> None:
        """Stop a server and leave it stopped, until ``resume``."""
        self.supervisor.leave(*server.children)
        server.stop()

    def resume(self, server: Server) -> None:
        """Start a server that was halted, and watch it again."""
        server.start()
        self.supervisor.watch(*server.children)

    def is_ready(self) -> bool:
        """Whether every process serves."""
        return all(process.is_ready() for process in self.processes)

    def stop(self) -> None:
        """End the services, then the servers; nothing of it is left running."""
        self.supervisor.stop()
        for process in self.processes:
            process.child.ask_to_stop()
        for process in self.processes:
            process.child.end(STOP_S)
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda server: server.stop(), self.servers.values()))
