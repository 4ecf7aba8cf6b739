"""The client: ``MienClient`` for asynchronous code, ``BlockingMienClient`` for the rest. See docs/client.md."""

from libs.client.blocking import BlockingMienClient
from libs.client.client import MienClient
from libs.client.errors import MienApiError, MienUnreachable
from libs.client.notices import Notice

__all__ = ["BlockingMienClient", "MienApiError", "MienClient", "MienUnreachable", "Notice"]
