"""Files of weights: nothing is opened before its size and sha256 are the promised ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


class ModelMissing(Exception):
    """A model, or one of its files, is not on this machine."""


class ModelCorrupt(Exception):
    """A model file is there, but its bytes are not the ones its digest promises."""


@dataclass(frozen=True)
class ModelFile:
    """One file of weights. ``sha256``: the digest (64 hex digits) its bytes must have; ``get``: how to have it."""

    model: str
    path: Path
    sha256: str
    size_bytes: int
    get: str

    @property
    def there(self) -> bool:
        """Whether there is a file of the right size; its digest is not taken."""
        try:
            return self.path.stat().st_size == self.size_bytes
        except OSError:
            return False

    @property
    def intact(self) -> bool:
        """Whether the file is there with the bytes that its digest promises."""
        try:
            self.read()
        except (ModelMissing, ModelCorrupt):
            return False
        return True

    def read(self) -> bytes:
        """The checked bytes of the file: the digest is taken over exactly what is returned.

        Raises ModelMissing when there is no such file, ModelCorrupt when size or digest differ.
        """
        try:
            with self.path.open("rb") as stream:
                content = stream.read(self.size_bytes + 1)
        except OSError as fault:
            raise ModelMissing(f"model {self.model} is not at {self.path}: {self.get}") from fault
        check(content, self)
        return content


def check(content: bytes, file: ModelFile) -> None:
    """Raises ModelCorrupt when ``content`` is not what the file should hold."""
    if len(content) != file.size_bytes:
        size = f"over {file.size_bytes}" if len(content) > file.size_bytes else str(len(content))
        raise ModelCorrupt(f"model {file.model} at {file.path} has {size} bytes, expected {file.size_bytes}")
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise ModelCorrupt(f"model {file.model} at {file.path} has sha256 {digest}, expected {file.sha256}")
