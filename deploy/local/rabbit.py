"""A private RabbitMQ: a broker, its own port mapper, and the management plug-in to make virtual hosts with."""

from __future__ import annotations

import base64
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from deploy.local.child import Child, accepts, free_port
from deploy.local.server import NotInstalled, Server

INSTALLED = Path("/usr/lib/rabbitmq/lib")
"""Where Debian and Ubuntu keep it. ``/usr/sbin/rabbitmq-server`` would switch to a user of its own."""

CONFIGURATION = """\
disk_free_limit.absolute = 200MB
vm_memory_high_watermark.absolute = 1GB
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
listeners.tcp.1 = 127.0.0.1:{port}
loopback_users.guest = true
"""


class Rabbit(Server):
    """RabbitMQ with the user ``guest``. Raises NotInstalled.

    A ``kill`` costs quorum queues that were declared since the last clean stop, or in the last three minutes: the
    broker saves its register of them (``names.dets``) only then, and starts them anew without their messages when the
    register misses them (rabbitmq-server issue 15725; seen on 3.10.8). ``restart`` before a kill makes them last.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder)
        self.port = port or free_port()
        self._management = free_port()
        mapper_port = free_port()
        mapper = shutil.which("epmd")
        brokers = sorted(INSTALLED.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
        if not brokers or not mapper:
            raise NotInstalled("RabbitMQ: apt-get install rabbitmq-server")
        environment = self._environment(mapper_port)
        self._mapper = Child("epmd", [mapper], log=folder / "epmd.log", environment=environment)
        self._broker = Child("rabbitmq", [brokers[-1]], log=folder / "rabbitmq.log", environment=environment)
        (folder / "rabbitmq.conf").write_text(CONFIGURATION.format(port=self.port, management=self._management))
        (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")

    def _environment(self, mapper_port: int) -> dict[str, str]:
        return {
            "HOME": str(self.folder),  # the Erlang cookie
            "ERL_EPMD_PORT": str(mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"mien{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",  # leave the cores alone
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the broker instead of starting it
        }

    @property
    def url(self) -> str:
        return self.url_of("/")

    def url_of(self, host: str) -> str:
        """The address of one virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{quote(host, safe='')}"

    @property
    def children(self) -> list[Child]:
        return [self._mapper, self._broker]

    def answers(self) -> bool:
        try:
            self._manage("GET", "overview")
        except OSError:
            return False
        return accepts(self.port)

    def add_host(self, host: str) -> str:
        """Make a virtual host, which sees nothing of the others; its address."""
        self._manage("PUT", f"vhosts/{quote(host, safe='')}")
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self._manage("PUT", f"permissions/{quote(host, safe='')}/guest", rights)
        return self.url_of(host)

    def remove_host(self, host: str) -> None:
        """Remove a virtual host and everything in it."""
        self._manage("DELETE", f"vhosts/{quote(host, safe='')}")

    def queues(self, host: str = "/") -> list[dict[str, Any]]:
        """Every queue with its counters, as the broker's management API gives them (a few seconds old)."""
        return self._manage("GET", f"queues/{quote(host, safe='')}")

    @contextmanager
    def bounded(self, queue: str, messages: int) -> Iterator[None]:
        """While it lasts, a queue of the default host takes no more than this, whatever it was declared with."""
        policy = f"policies/%2F/{quote(queue, safe='')}"
        definition = {"pattern": f"^{re.escape(queue)}$", "apply-to": "queues", "definition": {"max-length": messages}}
        self._manage("PUT", policy, definition)
        try:
            yield
        finally:
            self._manage("DELETE", policy)

    def _manage(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call of the management API. Raises OSError when it does not answer or refuses."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._management}/api/{path}",
            method=method,
            data=orjson.dumps(body or {}) if method == "PUT" else None,
            headers={
                "Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            raw = answer.read()
        return orjson.loads(raw) if raw else None
