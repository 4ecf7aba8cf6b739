"""Whether the service on a port of this container is ready: ``probe.py PORT``. For health checks; needs only Python.

It asks for what is the process's own (``own=1``): whether its neighbours are well is theirs to say.
"""

import http.client
import sys

TIMEOUT_S = 5


def main(port: int) -> int:
    """The exit status: 0 when it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz?own=1")
        answer = connection.getresponse()
        print(answer.read().decode())
    except OSError as failure:
        print(failure)
        return 1
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
