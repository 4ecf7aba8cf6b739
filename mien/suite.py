"""The whole suite in one process.

Services call each other in process or, with ``MIEN_CALLS=http``, through their own ports over HTTP.
"""

from __future__ import annotations

from filelock import FileLock, Timeout

from libs.common.errors import Code, MienError
from libs.common.settings import Settings
from mien.serve import ALL, Process


class Suite:
    """Every service, built and served. ``addresses`` maps each service to its URL once started."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.storage.data_dir
        self._lock = FileLock(self._folder / "lock")
        self._process = Process(settings, ALL)
        self.addresses = self._process.addresses

    async def start(self) -> None:
        """As :meth:`Process.start`. Raises REQUEST_CONFLICT when another process works on the data folder."""
        self._take_folder()
        try:
            await self._process.start()
        except BaseException:
            self._lock.release()
            raise

    async def stop(self) -> None:
        await self._process.stop()
        self._lock.release()

    def _take_folder(self) -> None:
        """Two processes on one folder would each deliver the other's messages."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise MienError(Code.REQUEST_CONFLICT, f"another process works on {self._folder.resolve()}") from None
