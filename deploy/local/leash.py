"""Run a command that does not outlive its parent: ``python leash.py PARENT_PID COMMAND...``.

A process of its own between fork and exec, because Python code may not run there in a program with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""linux/prctl.h: the signal the kernel sends this process when the thread that forked it ends."""


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            sys.exit("the parent is gone")
    try:
        os.execvp(command[0], command)
    except OSError as failure:
        sys.exit(f"{command[0]}: {failure.strerror}")


if __name__ == "__main__":
    main()
