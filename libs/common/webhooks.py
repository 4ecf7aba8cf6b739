"""Signatures of HTTP callbacks, as https://www.standardwebhooks.com (specification 1.0.0) has them.

Whoever receives a callback checks them with the libraries that specification has for most languages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"
ID_HEADER, TIME_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"
KEY_BYTES = range(24, 65)
"""Lengths of a key that the specification allows."""


def signing_key(secret: str) -> bytes:
    """The key that ``whsec_<base64>`` stands for. Raises ValueError that does not quote it."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise ValueError(f"should be {PREFIX} and the base64 of {KEY_BYTES.start} to {KEY_BYTES.stop - 1} bytes")
    return key


def signature(key: bytes, message_id: str, time_s: int, body: bytes) -> str:
    """The value of SIGNATURE_HEADER: HMAC-SHA256 over ``<id>.<seconds since 1970>.<body>``."""
    content = f"{message_id}.{time_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
