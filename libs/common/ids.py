"""Identifiers: lower-case UUID text, made by whoever creates the object so that a retry is harmless."""

from __future__ import annotations

import re
import time
import uuid
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

REQUEST_ID = re.compile(r"^\d{10},[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", re.IGNORECASE)
_CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NIL = "00000000-0000-0000-0000-000000000000"


def new_id() -> str:
    """A fresh UUID version 4 in lower-case text."""
    return str(uuid.uuid4())


def new_request_id() -> str:
    """``<10-digit unix seconds>,<uuid4>``, the contract's form of ``Luna-Request-Id``."""
    return f"{int(time.time()):010d},{uuid.uuid4()}"


def parse_id(text: str) -> str:
    """Canonical lower-case UUID text. Raises ValueError when ``text`` is not a UUID in the 8-4-4-4-12 form."""
    if _CANONICAL.fullmatch(text):
        return text  # nearly all are, and there are many in an event
    if len(text) != 36:
        raise ValueError("is not a UUID")
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError("is not a UUID") from None


Id = Annotated[str, AfterValidator(parse_id), WithJsonSchema({"type": "string", "format": "uuid"})]
