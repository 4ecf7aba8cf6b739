"""What tests of several ports need."""

import pytest

from libs.common import clock
from tests.clocks import Clock


@pytest.fixture
def service_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time as all services read it; it is now, until the test turns it."""
    turned = Clock(clock.now_ms())
    monkeypatch.setattr(clock, "now_ms", turned)
    return turned
