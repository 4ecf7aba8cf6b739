"""Addresses and headers that users give, as far as they can be judged by themselves: nothing is resolved or called."""

from __future__ import annotations

import re
from collections.abc import Mapping

from yarl import URL

from libs.common.errors import Code, MienError

OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})
"""Headers that belong to the transport; a callback may not set them."""

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""A token of RFC 9110."""
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no value of a header may have: with a line break in it the rest would be headers of their own."""


def read_address(text: str) -> URL:
    """Raises BAD_URL, FETCH_REFUSED (scheme, credentials)."""
    try:
        url = URL(text)
    except ValueError:
        raise MienError(Code.BAD_URL, "not a URL") from None
    if url.scheme not in ("http", "https"):
        raise MienError(Code.FETCH_REFUSED, f"scheme {url.scheme or 'missing'}: only http and https")
    if not url.host or " " in url.host:
        raise MienError(Code.BAD_URL, f"{shown(url)}: no host")
    if url.user is not None or url.password is not None:
        raise MienError(Code.FETCH_REFUSED, f"{shown(url)}: credentials in a URL")
    return url


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises FETCH_REFUSED for headers of the transport and for what is no header. Values are not quoted."""
    for name, value in headers.items():
        if name.lower() in OWN_HEADERS:
            raise MienError(Code.FETCH_REFUSED, f"headers: {name.lower()} may not be set")
        if not _NAME.fullmatch(name) or _UNFIT.search(value):
            raise MienError(Code.FETCH_REFUSED, f"headers: {name!r} and its value are no header")


def shown(url: URL) -> str:
    """A URL as it may be logged and answered: without credentials, query and fragment, which may hold secrets."""
    return str(url.with_user(None).with_query(None).with_fragment(None)) if url.host else "URL"
