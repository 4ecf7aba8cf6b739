"""What a message carries of the request it came from: its id, its account, its trace."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from libs.common import observability, tracing
from libs.common.bus.port import Message

log = logging.getLogger("mien.bus")


def stamped(message: Message) -> Message:
    """With the request and the trace that are open here, unless it has its own."""
    return replace(
        message,
        request_id=message.request_id or observability.REQUEST.get(),
        headers={**tracing.headers(), **message.headers},
    )


@contextmanager
def delivery(queue: str, message: Message) -> Iterator[None]:
    """Everything logged and called inside belongs to the request that the message came from."""
    request = observability.request(message.request_id or message.message_id, message.account)
    began = time.perf_counter()
    with request, tracing.span(queue, "consumer", message.headers):
        yield
        log.info("%s took %s in %.1fms", queue, message.message_id, (time.perf_counter() - began) * 1000)
