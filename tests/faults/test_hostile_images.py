"""Broken, hostile and odd pictures, through the decoding processes that production uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libs.common.errors import MienError
from services.remote_sdk.decoding.children import Children
from tests.hostile_images import LIMITS, Case, Tally, cases, encoded, fuzz, resident_mb

CASES = cases()


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    made = Children(LIMITS, 1)
    yield made
    made.close()


def outcome(children: Children, case: Case) -> object:
    try:
        return children.decode(case.data, case.content_type).pixels.shape[:2]
    except MienError as refusal:
        return refusal.code


@pytest.mark.parametrize("name", CASES)
def test_a_picture_comes_out_or_is_refused_with_its_reason_by_the_same_process(name: str, children: Children) -> None:
    process, case = children.processes, CASES[name]
    assert outcome(children, case) in {case.shape, *case.refusals} - {None}
    assert outcome(children, Case(encoded("PNG"))) == (48, 64)
    assert children.processes == process


def test_mutated_pictures_end_no_process_keep_no_memory_and_spoil_no_other(children: Children) -> None:
    process = children.processes
    tally, before = Tally(), 0.0
    for number, tally in enumerate(fuzz(children, 1500, seed=7), 1):  # noqa: B007 (the last one is looked at)
        if number == 500:
            before = resident_mb(process[0])
    assert sum(tally.outcomes.values()) == 1500
    assert tally.outcomes["BROKEN_IMAGE"] > 500
    assert tally.outcomes["pixels"] > 100
    assert tally.wrong == 0
    assert tally.slowest_s < 20
    assert children.processes == process
    assert resident_mb(process[0]) < before + 30
