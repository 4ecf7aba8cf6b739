"""How a call fails: the platform said no, or it could not be asked."""

from __future__ import annotations


class MienApiError(Exception):
    """The platform's error answer.

    ``error_code`` is the number of the contract (docs/errors.md), ``desc`` its constant text, ``detail`` names the
    ids, fields and limits of this case; ``request_id`` finds the call in the platform's logs. An answer that does
    not come from the platform (a proxy's, say) has the code 1 and the beginning of its text as ``detail``.
    """

    def __init__(self, status: int, error_code: int, desc: str, detail: str, request_id: str) -> None:
        super().__init__(f"{status} / {error_code} {desc}: {detail}" if detail else f"{status} / {error_code} {desc}")
        self.status = status
        self.error_code = error_code
        self.desc = desc
        self.detail = detail
        self.request_id = request_id


class MienUnreachable(Exception):
    """No answer came: nothing listens, the connection broke, or the time was up.

    Whether the platform did the work is unknown then; what was given an id by the caller may be sent again.
    """
