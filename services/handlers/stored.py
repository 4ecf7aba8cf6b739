"""A handler as stores keep it: flat fields to search by, its policies as JSON text with every default written out."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from pydantic import ValidationError

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.wire.base import fault
from libs.common.wire.handlers import Handler
from libs.common.wire.policies import Policies

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def dump(handler: Handler) -> dict[str, Any]:
    """Its fields, times in milliseconds. Defaults are written out, so that a later change of one leaves it alone."""
    return {
        "account_id": handler.account_id,
        "handler_id": handler.handler_id,
        "description": handler.description,
        "handler_type": handler.handler_type,
        "lambda_id": handler.lambda_id,
        "policies": None if handler.policies is None else handler.policies.model_dump_json(),
        "version": handler.version,
        "create_ms": clock.to_ms(handler.create_time),
        "update_ms": clock.to_ms(handler.last_update_time),
    }


def load(fields: Mapping[str, Any]) -> Handler:
    """The handler of those fields; others beside them do no harm. Raises HANDLER_CORRUPTED when they no longer fit."""
    try:
        return Handler(
            handler_id=fields["handler_id"],
            account_id=fields["account_id"],
            description=fields["description"],
            handler_type=fields["handler_type"],
            lambda_id=fields["lambda_id"],
            policies=Policies.model_validate_json(fields["policies"]) if fields["policies"] else None,
            version=fields["version"],
            create_time=clock.from_ms(fields["create_ms"]),
            last_update_time=clock.from_ms(fields["update_ms"]),
        )
    except ValidationError as wrong:
        raise MienError(Code.HANDLER_CORRUPTED, f"handler {fields['handler_id']}: {fault(wrong, 'policies')}") from None


def folded(description: str) -> str:
    """For searches: ASCII letters in lower case and everything else as it is, which is SQLite's ``lower``."""
    return description.translate(_LOWER)
