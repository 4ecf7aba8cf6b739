"""Makes one HTTP callback: authorised, signed, known by its id."""

from __future__ import annotations

import base64

from multidict import CIMultiDict

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.http.routes import ACCOUNT_HEADER
from libs.common.sealing import Seal
from libs.common.webhooks import ID_HEADER, SIGNATURE_HEADER, TIME_HEADER, signature, signing_key
from services.sender.model import Delivery
from services.sender.ports import Poster


class Courier:
    """``key`` signs callbacks that have no secret of their own; without either they are not signed. ``seal`` opens what
    a callback is authorised and signed with."""

    def __init__(self, poster: Poster, key: bytes | None, seal: Seal) -> None:
        self._poster = poster
        self._key = key
        self._seal = seal

    async def deliver(self, delivery: Delivery) -> None:
        """Raises FETCH_FAILED when the receiver does not answer with a 2xx status, HANDLER_CORRUPTED when what the
        callback is authorised with cannot be opened, else as :meth:`Poster.post`."""
        timeout_s = delivery.callback.params.timeout
        headers = self._headers(delivery, clock.now_ms() // 1000)
        status = await self._poster.post(delivery.subscriber, delivery.body, headers, timeout_s)
        if not 200 <= status < 300:
            raise MienError(Code.FETCH_FAILED, f"the receiver answered {status}")

    def _headers(self, delivery: Delivery, now_s: int) -> dict[str, str]:
        """The user's, and over them ours; the time and so the signature are of this attempt."""
        callback = delivery.callback
        headers = CIMultiDict(callback.params.headers)
        headers["Content-Type"] = callback.params.content_type
        headers["Idempotency-Key"] = headers[ID_HEADER] = delivery.message_id
        headers[ACCOUNT_HEADER] = delivery.account
        if callback.authorization:
            sign = callback.authorization
            headers["Authorization"] = _basic(sign.login, self._opened(sign.password))
        key = signing_key(self._opened(callback.secret)) if callback.secret else self._key
        if key:
            headers[TIME_HEADER] = str(now_s)
            headers[SIGNATURE_HEADER] = signature(key, delivery.message_id, now_s, delivery.body)
        return dict(headers)

    def _opened(self, text: str) -> str:
        """Raises HANDLER_CORRUPTED: an earlier key may be given back to MIEN_SECRET_KEY, so it is tried again."""
        try:
            return self._seal.open(text)
        except ValueError as wrong:
            raise MienError(Code.HANDLER_CORRUPTED, f"the callback's password or secret is {wrong}") from None


def _basic(login: str, password: str) -> str:
    pair = base64.b64encode(f"{login}:{password}".encode()).decode()
    return f"Basic {pair}"
