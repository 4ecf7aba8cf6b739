"""A private Redis that writes every command to the disk before it answers."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from deploy.local.child import Child, free_port
from deploy.local.server import NotInstalled, Server

DATABASES = 4096
"""Enough that every test of a session gets one of its own."""


class Redis(Server):
    """``redis-server`` with an append-only file. Raises NotInstalled."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder)
        binary = shutil.which("redis-server")
        if not binary:
            raise NotInstalled("Redis: apt-get install redis-server")
        self.port = port or free_port()
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": folder,
            "databases": DATABASES,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        self._child = Child("redis", [binary, *words], log=folder / "redis.log")

    @property
    def url(self) -> str:
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        """The address of one of its ``DATABASES``."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    @property
    def children(self) -> list[Child]:
        return [self._child]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"  # "-LOADING ..." while it reads its file
        except OSError:
            return False
