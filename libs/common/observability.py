"""Logs that carry the request from the door to the worker, and the pulse of the process. Never bytes, never vectors."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import Histogram

from libs.common import clock, tracing

REQUEST: ContextVar[str | None] = ContextVar("mien_request_id", default=None)
ACCOUNT: ContextVar[str | None] = ContextVar("mien_account", default=None)

LAG = Histogram(
    "mien_loop_lag_seconds",
    "How much later than it should the event loop came round",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5),
)
PULSE_S = 0.5
"""How often the event loop is looked at."""


@contextmanager
def request(request_id: str, account: str | None = None) -> Iterator[None]:
    """Everything logged and called inside belongs to this request, which ``account`` makes if that is known."""
    tokens = REQUEST.set(request_id), ACCOUNT.set(account)
    try:
        yield
    finally:
        REQUEST.reset(tokens[0])
        ACCOUNT.reset(tokens[1])


def configure(service: str, level: str = "INFO", form: Literal["json", "text"] = "json") -> None:
    """Send the process's logs to standard error, as lines for machines or for people."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service) if form == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class JsonLines(logging.Formatter):
    """One object a line: ``time``, ``level``, ``service``, ``logger``, ``message``, and where they are known
    ``request_id``, ``account``, ``trace_id`` and ``error`` (a traceback)."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        record = _without_bytes(record)
        line: dict[str, Any] = {
            "time": clock.render(clock.from_ms(int(record.created * 1000))),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in _context().items() if value}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """``time LEVEL logger: message [request id]``, and a traceback below it where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        record = _without_bytes(record)
        time_of_day = clock.render(clock.from_ms(int(record.created * 1000)))
        line = f"{time_of_day} {record.levelname:7} {record.name}: {record.getMessage()}"
        if request_id := REQUEST.get():
            line += f" [{request_id}]"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _context() -> dict[str, str | None]:
    return {"request_id": REQUEST.get(), "account": ACCOUNT.get(), "trace_id": tracing.trace_id()}


def _without_bytes(record: logging.LogRecord) -> logging.LogRecord:
    """What was not HTTP is logged without what it was: aiohttp would quote it, be it a picture or a password."""
    failure = record.exc_info[1] if record.exc_info else None
    if not isinstance(failure, HttpProcessingError):
        return record
    fields = {**vars(record), "msg": f"{record.getMessage()}: {type(failure).__name__}", "args": ()}
    fields |= {"exc_info": None, "exc_text": None, "levelno": logging.WARNING, "levelname": "WARNING"}
    return logging.makeLogRecord(fields)


async def feel_pulse() -> None:
    """Measure for ever how late the event loop is: everything else on it waits as long."""
    while True:
        due = time.perf_counter() + PULSE_S
        await asyncio.sleep(PULSE_S)
        LAG.observe(max(0.0, time.perf_counter() - due))
