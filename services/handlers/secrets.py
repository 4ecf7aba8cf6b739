"""What callbacks are authorised with: sealed wherever a handler is kept or sent, open only while it is compared."""

from __future__ import annotations

from collections.abc import Callable

from libs.common.sealing import Seal
from libs.common.wire.policies import Policies
from services.handlers.requirements import MASK


def sealed(policies: Policies, seal: Seal) -> Policies:
    """A copy to keep and to send."""
    return _with_secrets(policies, seal.seal)


def opened(policies: Policies, seal: Seal) -> Policies:
    """A copy as its owner wrote it, but for what was sealed with a key that is lost: that is the mask again."""

    def open_or_mask(text: str) -> str:
        try:
            return seal.open(text)
        except ValueError:
            return MASK

    return _with_secrets(policies, open_or_mask)


def _with_secrets(policies: Policies, change: Callable[[str], str]) -> Policies:
    changed = policies.model_copy(deep=True)
    for callback in changed.storage_policy.callbacks:
        if callback.authorization:
            callback.authorization.password = change(callback.authorization.password)
        if callback.secret:
            callback.secret = change(callback.secret)
    return changed
