"""The one family of errors, and the codes of the wire contract.

Domain code raises :class:`MienError` (or a subclass); the HTTP edge turns it into the contract's body
``{"error_code", "desc", "detail", "link"}`` and the RPC edge carries it unchanged between processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

LINK = "https://github.com/mien/mien/blob/main/docs/errors.md#code-{}"


class Code(Enum):
    """Every error code Mien answers with: ``(number, http status, constant description)``.

    Numbers come from the public contract; the ones marked *own* fill gaps in its families.
    """

    SUCCESS = (0, 200, "Success")
    INTERNAL = (1, 500, "Internal server error")
    BAD_URL = (3, 400, "Bad URL for an outgoing call")
    REQUEST_TIMEOUT = (9, 504, "Outgoing request timed out")
    CONNECTION = (11, 502, "Outgoing connection failed")
    FETCH_REFUSED = (23, 400, "Fetching this URL is not allowed")  # own
    FETCH_FAILED = (24, 400, "The URL did not give a usable answer")  # own

    NO_FACE_ATTRIBUTES = (11032, 400, "Face has no attributes")
    SEVERAL_FACES = (11038, 400, "Several faces where only one is allowed")
    NO_FACE_WITH_EXTERNAL_ID = (11041, 400, "No face has this external id")

    BAD_JSON = (12001, 400, "Body is not valid JSON")  # own
    EMPTY_BODY = (12002, 400, "Body is empty")  # own
    ACCOUNT_MISSING = (12010, 400, "Luna-Account-Id header is required")  # own
    BAD_QUERY = (12012, 400, "Query parameter is wrong")  # own
    ROUTE_MISSING = (12013, 404, "No such route")  # own
    BAD_HEADER = (12016, 400, "Header is wrong")  # own
    BAD_CONTENT_TYPE = (12017, 400, "Content-Type header is malformed")
    METHOD_NOT_ALLOWED = (12021, 405, "Method is not allowed on this route")  # own
    BAD_BODY = (12022, 400, "Body does not fit the schema")  # own
    NOT_ACCEPTABLE = (12023, 406, "Answer type is not acceptable")
    UNSUPPORTED_MEDIA = (12024, 415, "Unsupported media type")
    CONTENT_MISMATCH = (12025, 400, "Content type contradicts the data")
    BODY_TOO_LARGE = (12030, 413, "Request is too large")  # own
    BROKEN_IMAGE = (12031, 400, "Image cannot be decoded")  # own
    IMAGE_TOO_LARGE = (12032, 400, "Image has too many pixels or bytes")  # own
    OVERLOADED = (12033, 503, "Too much work is waiting")  # own
    BAD_IMAGE_SIZE = (12034, 400, "Image has the wrong size for its type")  # own
    STORAGE_FULL = (12035, 507, "No space is left to store it")  # own
    DESCRIPTOR_VERSION_UNKNOWN = (12036, 400, "Descriptor version is not registered")
    STORE_UNAVAILABLE = (12037, 503, "A store or the bus cannot be reached")  # own
    RATE_LIMITED = (12038, 429, "Too many requests of this account")  # own
    BAD_MULTIPART = (12041, 400, "Multipart part has a wrong type")
    TOO_MANY = (12042, 400, "Too many items in one request")  # own
    REQUEST_CONFLICT = (12043, 409, "Object exists already")  # own

    IMAGE_MISSING = (13003, 404, "Image not found")
    BUCKET_MISSING = (13005, 404, "Bucket not found")  # own
    BUCKET_EXISTS = (13006, 409, "Bucket exists already")
    OBJECT_MISSING = (13007, 404, "Object not found")

    FACE_MISSING = (22002, 404, "Face not found")
    LIST_MISSING = (22003, 404, "List not found")
    FACES_MISSING = (22004, 400, "One or more faces not found")
    LISTS_MISSING = (22005, 400, "One or more lists not found")
    ATTRIBUTE_UPDATE_MISSING = (22010, 404, "Attribute to update not found")
    ATTRIBUTE_MISSING = (22011, 404, "Attribute not found")
    FACE_TARGET_UNKNOWN = (22016, 400, "Unknown face target")
    DESCRIPTOR_MISSING = (22018, 400, "Object has no descriptor of this version")
    SAMPLES_CONFLICT = (22025, 400, "Samples of the attribute conflict")

    EVENT_MISSING = (23001, 404, "Event not found")  # own
    EVENTS_MISSING = (23002, 400, "One or more events not found")  # own
    BODY_DESCRIPTOR_MISSING = (23007, 400, "Event has no body descriptor of this version")

    SUBSCRIBER_UNKNOWN = (29001, 403, "Luna-Account-Id header is required to subscribe")
    CURSOR_GONE = (29002, 410, "What followed the cursor is no longer kept")  # own
    TOO_MANY_SUBSCRIBERS = (29003, 429, "Too many subscriptions")  # own

    REFERENCE_VERSION = (31001, 400, "Reference descriptor version differs from the matching version")
    MIXED_VERSIONS = (31005, 400, "Descriptor versions are mixed in one match")
    BAD_DESCRIPTOR = (31006, 400, "Descriptor is malformed")  # own

    HANDLER_MISSING = (34000, 404, "Handler not found")
    HANDLER_CORRUPTED = (34002, 500, "Stored handler is corrupted")
    TOO_MANY_CANDIDATES = (34005, 400, "Too many match candidates")
    NOT_DYNAMIC = (34007, 403, "Operation needs a dynamic handler")
    SEVERAL_BODIES = (34008, 400, "Several bodies where only one is allowed")
    BAD_POLICIES = (34009, 400, "Policies contradict themselves")  # own
    POLICIES_MISSING = (34010, 400, "Dynamic handler needs policies")  # own

    ENGINE_FAILED = (110019, 500, "Inference failed")
    ESTIMATOR_MISSING = (200010, 400, "Estimator has no model installed")  # own
    ESTIMATOR_REFUSED = (200011, 403, "Estimator is not allowed on this deployment")  # own

    @property
    def number(self) -> int:
        return self.value[0]

    @property
    def status(self) -> int:
        return self.value[1]

    @property
    def desc(self) -> str:
        return self.value[2]


_BY_NUMBER = {code.number: code for code in Code}


class MienError(Exception):
    """A failure the caller can understand: a code, and a detail that names ids, fields and limits.

    ``status`` overrides the code's usual HTTP status where the contract asks for it: the same missing
    list is 404 in a path and 400 in a body. ``retry_after_s`` (seconds) says that sending the same again does no harm;
    clients do that by themselves, so an end that is not known must not carry it where an id was made on the way.
    """

    def __init__(self, code: Code, detail: str = "", *, status: int | None = None, retry_after_s: int | None = None):
        super().__init__(f"{code.number} {code.desc}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status or code.status
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """The contract's error body."""
        return {
            "error_code": self.code.number,
            "desc": self.code.desc,
            "detail": self.detail,
            "link": LINK.format(self.code.number),
        }

    @classmethod
    def from_body(cls, body: dict[str, Any], status: int, retry_after_s: int | None = None) -> MienError:
        """The error another process answered with; an unknown number becomes an internal error."""
        code = _BY_NUMBER.get(body.get("error_code", 1), Code.INTERNAL)
        return cls(code, str(body.get("detail", "")), status=status, retry_after_s=retry_after_s)


OPEN = frozenset({Code.STORE_UNAVAILABLE, Code.REQUEST_TIMEOUT, Code.CONNECTION, Code.INTERNAL})
"""Failures after which nobody knows whether what was asked for has been done."""


@contextmanager
def said_once(*, by_id: bool) -> Iterator[None]:
    """A failure with an open end says no more when to come back, unless the caller chose the ids (``by_id``): asked for
    again, what gets its id on the way would be another one."""
    try:
        yield
    except MienError as failure:
        if failure.code in OPEN and not by_id:
            failure.retry_after_s = None
        raise


def success_body() -> dict[str, Any]:
    """The error object embedded in the answer of an image that did not fail."""
    return {"error_code": 0, "desc": Code.SUCCESS.desc, "detail": ""}
