"""What becomes of a batch when the GPU fails."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from libs.common.errors import Code, MienError

log = logging.getLogger("mien.sdk")

Run = Callable[[list[Any]], list[Any]]


def enduring(run: Run) -> Run:
    """``run`` for a GPU that other threads and processes use as well: a batch that it has no memory for goes through in
    halves, and an item for which there is none is OVERLOADED.

    Every other fault of a GPU stays for as long as the process lives that met it. So the process ends itself, as if it
    were told to (SIGTERM), and whoever supervises it starts another; the batch is ENGINE_FAILED.
    """

    def halving(items: list[Any]) -> list[Any]:
        with suppress(torch.OutOfMemoryError):
            return run(items)
        # What the failed run had in the GPU's memory is let go with its error, before the halves begin.
        if len(items) == 1:
            return [MienError(Code.OVERLOADED, "the GPU has no memory left", retry_after_s=1)]
        middle = len(items) // 2
        return halving(items[:middle]) + halving(items[middle:])

    def enduring_run(items: list[Any]) -> list[Any]:
        try:
            return halving(items)
        except torch.AcceleratorError as fault:
            log.critical("the GPU failed, so this process ends: %s", str(fault).partition("\n")[0])
            os.kill(os.getpid(), signal.SIGTERM)
            raise MienError(Code.ENGINE_FAILED, "the GPU failed; its process is started anew") from fault

    return enduring_run
