"""An S3 bucket: how long its calls may take, and what they fail with, in one place.

A call that failed or was cut off has an unknown end; keys are written once, so repeating it by key is harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

from libs.common.errors import Code, MienError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

TIMES: ClientConfig = {"connect_timeout": timedelta(seconds=2), "timeout": timedelta(seconds=15)}
"""For one request; the body of a large picture has to fit in."""
RETRIES: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=8),
    "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=1), "base": 2},
}
"""Of a request that met 5xx, a time-out or a lost connection: none begins later than this after the first."""

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")


@contextmanager
def reached() -> Iterator[None]:
    """A bucket that cannot be used leaves as STORE_UNAVAILABLE; what obstore says of one object as it is."""
    try:
        yield
    except (GenericError, PermissionDeniedError, UnauthenticatedError) as failure:
        detail = f"S3: {_reason(str(failure))}; whether it was done is not known, repeating it is safe"
        raise MienError(Code.STORE_UNAVAILABLE, detail, retry_after_s=1) from failure


@contextmanager
def bucket_reached() -> Iterator[None]:
    """As :func:`reached`, of calls for which a key may be missing: what is not found then is the bucket."""
    try:
        with reached():
            yield
    except FileNotFoundError as failure:
        raise MienError(Code.STORE_UNAVAILABLE, "S3: there is no such bucket", retry_after_s=1) from failure


def _reason(text: str) -> str:
    """The status and S3's own word for it. The rest of ``text`` names hosts, and may quote the access key."""
    found = [match[1] for match in (_STATUS.search(text), _CODE.search(text)) if match]
    return " ".join(found) or "no answer"
