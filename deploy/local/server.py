"""What every private server has in common: processes that belong together, one folder, one address."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from deploy.local.child import Child


class NotInstalled(Exception):
    """The server is not on this machine; the message says how to get it."""


class Server(ABC):
    """A private server on loopback. What it keeps lies in ``folder`` and outlives ``stop`` and ``kill``."""

    START_S = 60.0
    remark = ""
    """What whoever uses it should be told, such as that it stands in for another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    @abstractmethod
    def url(self) -> str:
        """What clients connect to; the same for the whole life of the server."""

    @property
    @abstractmethod
    def children(self) -> Sequence[Child]:
        """Its processes in the order of their start; the last one is who answers at ``url``."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client would be served now."""

    def start(self) -> Self:
        """Start, and wait until it serves. Raises DidNotStart."""
        for child in self.children:
            child.start()
        self.wait()
        return self

    def wait(self) -> None:
        """Until it serves. Raises DidNotStart when it ends before, or takes too long."""
        self.children[-1].wait_until(self.answers, self.START_S)

    def stop(self) -> None:
        """End cleanly."""
        for child in reversed(self.children):
            child.stop()

    def kill(self) -> None:
        """SIGKILL: what was not on the disk is lost."""
        for child in reversed(self.children):
            child.kill()

    def restart(self) -> None:
        """Stop, and start again on the same folder and address."""
        self.stop()
        self.start()

    def is_running(self) -> bool:
        return all(child.is_running() for child in self.children)
