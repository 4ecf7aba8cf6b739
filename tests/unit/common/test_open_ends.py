"""What may be asked for again by itself, and what may not."""

import pytest

from libs.common.errors import OPEN, Code, MienError, said_once


@pytest.mark.parametrize("by_id", [True, False])
def test_only_what_was_asked_for_by_id_may_be_asked_for_again_after_an_open_end(by_id: bool) -> None:
    for code in Code:
        with pytest.raises(MienError) as caught, said_once(by_id=by_id):
            raise MienError(code, "away", retry_after_s=1)
        assert caught.value.retry_after_s == (None if code in OPEN and not by_id else 1), code
