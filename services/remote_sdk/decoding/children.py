"""Decoding in processes of its own: a picture that crashes a parser, or keeps it busy, costs only itself."""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge

from libs.common.errors import Code, MienError
from services.remote_sdk.decoding.memory import Memory, size_bytes
from services.remote_sdk.decoding.port import Decoder, Encoded, Inside, attempt
from services.remote_sdk.stages.decode import AS_SHOWN, Limits, Picture, Wish, check_size

log = logging.getLogger("mien.sdk")
RUNNING = Gauge("mien_sdk_decoders", "Processes that decode; 0: the service decodes by itself")
GIVEN_UP = Counter("mien_sdk_decoders_replaced_total", "Decoding processes that died or hung and were replaced")

CHILD = (sys.executable, "-m", "services.remote_sdk.decoding.child")

_CPU_S = 10.0
"""Processor time one picture may take: some twenty times what 50 megapixels of PNG or WebP need."""
_WALL_S = 60.0
"""Time until a decoder that neither computes nor answers is given up."""
_START_S = 60.0
_STARTS = 3  # of one process that is killed before it has loaded its parsers, until pictures are refused
_EXIT_S = 5.0  # from closing the channel to the end of a process that crashed
_PICTURES = 50_000
"""After which a process is replaced: parsers lose memory with damaged pictures (measured: 0.2 to 0.9 KB each)."""
_ANSWER_BYTES = 8 * 1024 * 1024  # EXIF is the only thing in it that has a size
_KEPT_BYTES = 32 * 1024 * 1024
"""Of a frame and of the room for bytes, kept between pictures: ten megapixels. Larger ones pay for fresh pages."""
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG")
"""Of the environment, and nothing else of it: a decoder that was taken over finds no secret there."""


def decoder(limits: Limits, count: int) -> Decoder:
    """``count`` decoding processes where the system has what they need (Linux); else decoding in this one, with a
    warning in the log and ``mien_sdk_decoders`` at 0."""
    try:
        return Children(limits, count)
    except (OSError, AttributeError, MienError) as reason:
        log.warning("no decoding processes here, so a picture that crashes a parser ends the service: %s", reason)
        RUNNING.set(0)
        return Inside(limits)


class Children:
    """Decodes in ``count`` processes that are started once. A caller beyond that number waits for one of them.

    The pixels returned lie in memory shared with the process and may be kept as long as anybody likes: it is not
    written again while an array refers to it.
    """

    def __init__(
        self,
        limits: Limits,
        count: int,
        *,
        command: Sequence[str] = CHILD,
        cpu_s: float = _CPU_S,
        wall_s: float = _WALL_S,
    ) -> None:
        """Raises OSError or AttributeError where the system has no shared memory or no processes for it, ENGINE_FAILED
        when the processes end at once."""
        self._limits = limits
        self._count = count
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()

        def start(memory: int) -> _Process:
            return _Process(command, memory, limits, cpu_s)

        with ExitStack() as started:
            children = [started.enter_context(closing(_Child(start, limits, wall_s))) for _ in range(count)]
            for child in children:
                child.process.await_ready()
                self._idle.put(child)
            started.pop_all()
        self._callers = ThreadPoolExecutor(count, thread_name_prefix="decode")
        RUNNING.set(count)

    def decode(self, data: bytes, content_type: str | None, wish: Wish = AS_SHOWN) -> Picture:
        """See :class:`Decoder`. Raises OVERLOADED when a decoder that died cannot be replaced yet."""
        check_size(data, self._limits)
        child = self._idle.get()
        try:
            with suppress(_Killed):  # then once more
                return _decoded(child, data, content_type, wish)
            return _decoded(child, data, content_type, wish)
        except _GaveUp as reason:
            raise MienError(Code.BROKEN_IMAGE, f"the decoder gave this picture up: it {reason}") from None
        finally:
            self._idle.put(child)

    def decode_all(self, asked: Sequence[Encoded]) -> list[Picture | MienError]:
        """See :class:`Decoder`. Several at once go to as many of the processes as are idle."""
        if len(asked) == 1:
            return [attempt(self.decode, asked[0])]
        return list(self._callers.map(partial(attempt, self.decode), asked))

    def close(self) -> None:
        """Wait for pictures being decoded, then end the processes."""
        self._callers.shutdown()
        for _ in range(self._count):
            self._idle.get().close()
        RUNNING.set(0)

    @property
    def processes(self) -> list[int]:
        """The ids of the processes that are idle."""
        children = [self._idle.get() for _ in range(self._idle.qsize())]
        for child in children:
            self._idle.put(child)
        return [child.process.id for child in children]


class _GaveUp(Exception):
    """What a decoder did instead of answering."""


class _Killed(_GaveUp):
    """By somebody else, as the kernel does where memory is short: the picture may have had no part in it."""


def _decoded(child: _Child, data: bytes, content_type: str | None, wish: Wish) -> Picture:
    """Raises _GaveUp, which is noted."""
    try:
        return child.decode(data, content_type, wish)
    except _GaveUp as reason:
        GIVEN_UP.inc()
        log.warning("a decoding process was replaced: it %s", reason)
        raise


class _Child:
    """One process at a time, and the memory shared with it. Used by one thread at a time."""

    def __init__(self, start: Callable[[int], _Process], limits: Limits, wall_s: float) -> None:
        """``start``: a process that has the memory under this descriptor."""
        self._start = start
        self._wall_s = wall_s
        self._file = os.memfd_create("mien-decoding", os.MFD_CLOEXEC)
        os.ftruncate(self._file, size_bytes(limits))
        self._memory = Memory(self._file, limits)
        self._lent: weakref.ref[NDArray[np.uint8]] | None = None
        self._filled_bytes = 0
        self._process = start(self._file)

    @property
    def process(self) -> _Process:
        return self._process

    def decode(self, data: bytes, content_type: str | None, wish: Wish) -> Picture:
        if self._process.asked >= _PICTURES:
            self._replace()
        self._await_ready()
        number = self._free_frame()
        self._memory.put(data)
        request = {"size": len(data), "frame": number, "content_type": content_type, "wish": asdict(wish)}
        try:
            answer = self._process.ask(request, self._wall_s)
        except _GaveUp:
            self._replace()
            raise
        if "code" in answer:
            raise MienError(Code[answer["code"]], answer["detail"])
        return self._picture(answer, number)

    def _await_ready(self) -> None:
        """Until there is a process that waits for a picture; where one died without any, none is to blame. Raises
        ENGINE_FAILED, OVERLOADED."""
        for left in reversed(range(_STARTS)):
            if not self._process.is_alive:
                self._replace()
            try:
                self._process.await_ready()
                return
            except MienError:
                if not left:
                    raise

    def _free_frame(self) -> int:
        """The first frame; while somebody still looks at that one, the second, which is copied from."""
        if self._lent and self._lent() is not None:
            return 1
        if self._filled_bytes > _KEPT_BYTES:
            self._memory.trim(_KEPT_BYTES)
        self._filled_bytes = self._memory.frame_bytes  # until it is known, or a picture fails half-way
        return 0

    def _picture(self, answer: dict[str, Any], number: int) -> Picture:
        frame, shape = self._memory.frame(number), (answer["height"], answer["width"], 3)
        pixels = frame[: math.prod(shape)].reshape(shape)
        if number == 0:
            self._lent = weakref.ref(frame)  # every array made of the frame holds it
            self._filled_bytes = pixels.nbytes
        else:
            pixels = pixels.copy()
        return Picture(pixels, answer["exif"], answer["reduced"])

    def _replace(self) -> None:
        self._process.end()
        try:
            self._process = self._start(self._file)
        except OSError as reason:
            log.error("a decoding process cannot be started: %s", reason)
            raise MienError(Code.OVERLOADED, "no decoding process can be started", retry_after_s=5) from reason

    def close(self) -> None:
        self._process.end()
        os.close(self._file)


class _Process:
    """A decoding process and the channel to it."""

    def __init__(self, command: Sequence[str], memory: int, limits: Limits, cpu_s: float) -> None:
        """Raises OSError."""
        self._channel, theirs = multiprocessing.Pipe()
        with theirs:
            given = (theirs.fileno(), memory, limits.size_bytes, limits.pixels, cpu_s)
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                [*command, *map(str, given)],
                pass_fds=given[:2],
                env=_environment(),
                stdin=subprocess.DEVNULL,
            )
        self._ready = False
        self.asked = 0

    @property
    def id(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def await_ready(self) -> None:
        """Until the process has loaded its parsers, 0.2 s after its start. Raises ENGINE_FAILED when it cannot."""
        if self._ready:
            return
        try:
            self._receive(_START_S)
        except _GaveUp as reason:
            self.end()
            raise MienError(Code.ENGINE_FAILED, f"a decoding process did not start: it {reason}") from None
        self._ready = True

    def ask(self, request: dict[str, Any], wall_s: float) -> dict[str, Any]:
        """The process's answer. Raises _GaveUp."""
        self.asked += 1
        try:
            self._channel.send_bytes(json.dumps(request).encode())
        except OSError:
            raise self._ending() from None
        return json.loads(self._receive(wall_s))

    def _receive(self, wall_s: float) -> bytes:
        try:
            if not self._channel.poll(wall_s):
                raise _GaveUp(f"did not answer for {wall_s:g} s")
            return self._channel.recv_bytes(_ANSWER_BYTES)
        except (EOFError, OSError):
            raise self._ending() from None

    def _ending(self) -> _GaveUp:
        """How a process that closed its channel ended."""
        try:
            code = self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            return _GaveUp("closed its channel and did not end")
        finally:
            self.end()
        if code == -signal.SIGKILL:
            return _Killed("was ended by SIGKILL")
        if code == -signal.SIGPROF:
            return _GaveUp("took more processor time than a picture may")
        return _GaveUp(f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}")

    def end(self) -> None:
        """Kill the process, unless it has ended."""
        self._channel.close()
        self._process.kill()
        self._process.wait()


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        # Threads that are never used would each map memory, which is bounded.
        "OPENBLAS_NUM_THREADS": "1",
        # Left to itself glibc keeps up to 64 MB once a picture of that size was freed.
        "MALLOC_MMAP_THRESHOLD_": str(4 * 1024 * 1024),
        "MALLOC_TRIM_THRESHOLD_": str(8 * 1024 * 1024),
    }
