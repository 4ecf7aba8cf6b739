"""A decoding process that does what a picture's first bytes say, as one that was taken over or broken would."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from pathlib import Path

from services.remote_sdk.decoding.child import main
from services.remote_sdk.stages.decode import Limits, Picture, Pixels, Wish, decode


def misled(data: memoryview, content_type: str | None, limits: Limits, wish: Wish, into: Pixels) -> Picture:
    match bytes(data[:5]):
        case b"crash":
            ctypes.string_at(0)
        case b"leave":
            sys.exit(3)
        case b"sleep":
            time.sleep(60)
        case b"spin!":
            while True:
                pass
        case b"kill!":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"once!":  # and a path: waits at the first time only
            name, _, rest = bytes(data[5:]).partition(b"\0")
            if not (path := Path(name.decode())).exists():
                path.mkdir()  # a file cannot be opened here
                time.sleep(60)
            data = memoryview(rest)
        case b"grow!":
            bytearray(1 << 40)
        case b"dial!":
            socket.socket()
    return decode(data, content_type, limits, wish, into)


if __name__ == "__main__":
    main(sys.argv[1:], misled)
