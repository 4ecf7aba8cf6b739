"""Makes one HTTP callback: authorised, signed, known by its id."""

from __future__ import annotations

import base64

from multidict import CIMultiDict

from libs.common import clock
from libs.common.errors import Code, MienError
from libs.common.http.routes import ACCOUNT_HEADER
from libs.common.webhooks import ID_HEADER, SIGNATURE_HEADER, TIME_HEADER, signature, signing_key
from libs.common.wire.policies import BasicAuthorization
from services.sender.model import Delivery
from services.sender.ports import Poster


class Courier:
    """``key`` signs callbacks that have no secret of their own; without either they are not signed."""

    def __init__(self, poster: Poster, key: bytes | None) -> None:
        self._poster = poster
        self._key = key

    async def deliver(self, delivery: Delivery) -> None:
        """Raises FETCH_FAILED when the receiver does not answer with a 2xx status, else as :meth:`Poster.post`."""
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
            headers["Authorization"] = _basic(callback.authorization)
        key = signing_key(callback.secret) if callback.secret else self._key
        if key:
            headers[TIME_HEADER] = str(now_s)
            headers[SIGNATURE_HEADER] = signature(key, delivery.message_id, now_s, delivery.body)
        return dict(headers)


def _basic(sign: BasicAuthorization) -> str:
    pair = base64.b64encode(f"{sign.login}:{sign.password}".encode()).decode()
    return f"Basic {pair}"
