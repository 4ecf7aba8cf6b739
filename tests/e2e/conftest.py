"""What a user does works on the embedded suite and on the scaled-out one alike."""

import pytest

from tests.running import RunningScaledSuite, RunningSuite


@pytest.fixture(scope="session", params=["embedded", "scaled"])
def suite(request: pytest.FixtureRequest) -> RunningSuite | RunningScaledSuite:
    return request.getfixturevalue(f"{request.param}_suite")
