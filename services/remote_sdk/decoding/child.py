"""The process that decodes: ``python -m services.remote_sdk.decoding.child CHANNEL MEMORY SIZE_BYTES PIXELS CPU_S``.

Reads requests from the channel until it is closed, which is also how it learns that its parent is dead. A signal at
the parent's death would be the parent's *thread's* death, and threads that start decoders end before them.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from PIL import Image

from libs.common.errors import MienError
from services.remote_sdk.decoding.memory import Memory
from services.remote_sdk.stages.decode import Limits, Picture, Pixels, Wish, decode

Decode = Callable[[memoryview, str | None, Limits, Wish, Pixels], Picture]

_BYTES_PER_PIXEL = 24
"""What the dearest way through Pillow takes: 16-bit grey as int64 beside its source, or three layers of RGBA."""
_SPARE_BYTES = 256 * 1024 * 1024


def main(arguments: list[str], decode: Decode = decode) -> None:
    """``decode``: tests put something in its place that crashes."""
    channel, descriptor, size_bytes, pixels = map(int, arguments[:4])
    limits, cpu_s = Limits(size_bytes, pixels), float(arguments[4])
    memory = Memory(descriptor, limits)
    os.close(descriptor)
    _harden(limits)
    with Connection(channel) as requests:
        requests.send_bytes(b"ready")
        while True:
            try:
                request = json.loads(requests.recv_bytes())
            except EOFError:
                return
            # Processor time, not the clock's: a busy machine is no fault of the picture.
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            answer = _answer(request, memory, limits, decode)
            signal.setitimer(signal.ITIMER_PROF, 0)
            requests.send_bytes(json.dumps(answer).encode())


def _answer(request: dict, memory: Memory, limits: Limits, decode: Decode) -> dict:
    """Where the pixels lie is agreed; what is answered is their shape and EXIF, or the error."""
    data, into = memory.bytes_of(request["size"]), memory.frame(request["frame"])
    try:
        picture = decode(data, request["content_type"], limits, Wish(**request["wish"]), into)
    except MienError as error:
        return {"code": error.code.name, "detail": error.detail}
    height, width, _ = picture.pixels.shape
    return {"height": height, "width": width, "exif": picture.exif, "reduced": picture.reduced}


def _harden(limits: Limits) -> None:
    """From here on: bounded memory, no new file or socket, no core, and the first to go when memory is short."""
    warnings.simplefilter("ignore")
    Image.init()  # parsers of all formats, while their files can still be opened
    for signal_ in (signal.SIGINT, signal.SIGTERM):
        # Sent to all processes of a service at once; the parent, which drains, still needs this one.
        signal.signal(signal_, signal.SIG_IGN)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, sys.stderr.fileno())
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_AS, _mapped_bytes() + _SPARE_BYTES + _BYTES_PER_PIXEL * limits.pixels)
    _limit(resource.RLIMIT_NOFILE, silence)


def _limit(which: int, value: int) -> None:
    """Lower a limit; an operator's own that is lower stays."""
    hard = resource.getrlimit(which)[1]
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (lowest, lowest))


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main(sys.argv[1:])
