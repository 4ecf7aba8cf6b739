"""Texts that stores and the bus carry and only services with the key can read: what callbacks are authorised with.

Sealed with Fernet (https://github.com/fernet/spec: AES-128-CBC and HMAC-SHA256) as ``cryptography`` implements it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from libs.common.files import sync

PREFIX = "sealed:"
"""Before the token. A text without it is from before there was a seal, and is read as it is."""


class Seal:
    """``keys`` are 32 bytes each, in URL-safe base64. The first one seals, and any of them opens: a new key is put
    before the old one, which goes when nothing is left that it sealed."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises ValueError, which quotes no key."""
        if not keys:
            raise ValueError("no key")
        try:
            self._keys = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise ValueError("a key is 32 bytes in URL-safe base64; several are separated by commas") from None

    def seal(self, text: str) -> str:
        return PREFIX + self._keys.encrypt(text.encode()).decode()

    def open(self, text: str) -> str:
        """Raises ValueError when none of the keys has sealed it."""
        if not text.startswith(PREFIX):
            return text
        try:
            return self._keys.decrypt(text.removeprefix(PREFIX)).decode()
        except InvalidToken:
            raise ValueError("sealed with a key that is not here") from None


def key_in(file: Path) -> str:
    """The key that ``file`` holds; a new one, which only its owner may read, when there is no such file.

    Of several processes that make it at the same time all get the same one.
    """
    with suppress(FileNotFoundError):
        return file.read_text().strip()
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = mkstemp(dir=file.parent)  # which only its owner may read
    try:
        with os.fdopen(descriptor, "w") as written:
            written.write(Fernet.generate_key().decode())
            written.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(draft, file)  # unlike a rename it takes nobody's place
    finally:
        Path(draft).unlink()
    sync(file.parent)  # what was sealed would be lost with the key
    return file.read_text().strip()
