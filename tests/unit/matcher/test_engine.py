"""The matrix answers as a plain scan of the rows would, whatever was added, replaced and removed before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from services.matcher import engine
from services.matcher.engine import Matrix

LENGTH = 16

Rows = dict[str, np.ndarray]


def brute(rows: Rows, query: np.ndarray, limit: int, max_distance: float = np.inf) -> list[tuple[str, float]]:
    """Every distance in float64, sorted by distance and then id."""
    far = {
        row_id: float(np.sqrt(((row.astype(float) - query.astype(float)) ** 2).sum())) for row_id, row in rows.items()
    }
    near = [(distance, row_id) for row_id, distance in far.items() if distance <= max_distance]
    return [(row_id, distance) for distance, row_id in sorted(near)[:limit]]


def found(matrix: Matrix, *arguments: object) -> list[list[tuple[str, float]]]:
    return [list(zip(ids, distances.tolist(), strict=True)) for ids, distances in matrix.search(*arguments)]  # type: ignore[arg-type]


def same(got: list[tuple[str, float]], expected: list[tuple[str, float]]) -> bool:
    return [row_id for row_id, _ in got] == [row_id for row_id, _ in expected] and np.allclose(
        [distance for _, distance in got], [distance for _, distance in expected], rtol=1e-12, atol=0
    )


def coarse(rng: np.random.Generator, count: int) -> np.ndarray:
    """Vectors with components on a coarse grid: many are equal, many are equally far, all sums are exact."""
    return rng.integers(-2, 3, (count, LENGTH)).astype(np.float32) / 2


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rows then span segments, blocks and groups."""
    monkeypatch.setattr(engine, "SEGMENT", 32)
    monkeypatch.setattr(engine, "FIRST_CAPACITY", 2)
    monkeypatch.setattr(engine, "SCORES", 256)
    monkeypatch.setattr(engine, "BATCH", 10)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(st.tuples(st.sampled_from(["put", "remove"]), st.integers(1, 40)), max_size=12),
    limit=st.integers(1, 120),
    queries=st.integers(1, 25),
    smooth=st.booleans(),
)
def test_search_equals_brute_force_after_any_history(
    seed: int, steps: list[tuple[str, int]], limit: int, queries: int, smooth: bool
) -> None:
    rng = np.random.default_rng(seed)
    matrix, rows = Matrix(LENGTH), {}
    for verb, count in steps:
        ids = [f"{number:03d}" for number in rng.integers(0, 120, count)]
        if verb == "put":
            vectors = rng.standard_normal((count, LENGTH)).astype(np.float32) if smooth else coarse(rng, count)
            matrix.put(ids, vectors)
            rows |= dict(zip(ids, vectors, strict=True))
        else:
            for row_id in ids:
                matrix.remove(row_id)
                rows.pop(row_id, None)
    probes = coarse(rng, queries)

    assert len(matrix) == len(rows)
    assert all(map(same, found(matrix, probes, limit), [brute(rows, probe, limit) for probe in probes]))
    only = [f"{number:03d}" for number in rng.integers(0, 150, 30)]
    some = {row_id: rows[row_id] for row_id in only if row_id in rows}
    assert all(map(same, found(matrix, probes, 3, 2.0, only), [brute(some, probe, 3, 2.0) for probe in probes]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), scales=st.lists(st.sampled_from([1e-40, 1e-6, 1e-2, 1.0, 30.0, 1e4]), min_size=1)
)
def test_search_stays_exact_when_rows_and_queries_differ_wildly_in_size(seed: int, scales: list[float]) -> None:
    rng = np.random.default_rng(seed)
    vectors = (rng.standard_normal((90, LENGTH)) * rng.choice(scales, (90, 1))).astype(np.float32)
    rows = {f"{number:02d}": vector for number, vector in enumerate(vectors)}
    matrix = Matrix(LENGTH)
    matrix.put(list(rows), vectors)
    probes = (rng.standard_normal((8, LENGTH)) * rng.choice(scales, (8, 1))).astype(np.float32)

    assert all(map(same, found(matrix, probes, 5), [brute(rows, probe, 5) for probe in probes]))


def test_the_same_vector_is_at_distance_zero_and_ties_keep_the_lower_id_first() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((100, LENGTH)).astype(np.float32)
    vectors[[70, 5, 33, 99]] = vectors[50]
    matrix = Matrix(LENGTH)
    matrix.put([f"{number:02d}" for number in range(100)], vectors)

    assert found(matrix, vectors[50:51], 3) == [[("05", 0.0), ("33", 0.0), ("50", 0.0)]]


def test_the_distance_limit_is_inclusive() -> None:
    matrix = Matrix(2)
    matrix.put(["near", "edge", "far"], np.array([[0, 1], [3, 4], [6, 8]], dtype=np.float32))
    origin = np.zeros((1, 2), dtype=np.float32)

    assert found(matrix, origin, 9, 5.0) == [[("near", 1.0), ("edge", 5.0)]]
    assert found(matrix, origin, 9, -1.0) == [[]]


def test_an_empty_matrix_and_an_empty_choice_find_nothing() -> None:
    matrix = Matrix(2)
    origin = np.zeros((2, 2), dtype=np.float32)
    assert found(matrix, origin, 3) == [[], []]

    matrix.put(["a"], origin[:1])
    assert found(matrix, origin, 3, np.inf, []) == [[], []]
    assert found(matrix, origin, 3, np.inf, ["b"]) == [[], []]


def test_both_integer_products_agree() -> None:
    rng = np.random.default_rng(1)
    left, right = (torch.from_numpy(rng.integers(-127, 128, (n, 128)).astype(np.int8)) for n in (7, 300))

    expected = left.to(torch.int64) @ right.T.to(torch.int64)
    assert torch.equal(engine.multiply(left, right.T).to(torch.int64), expected)
    assert torch.equal(engine.multiply_as_floats(left, right.T).to(torch.int64), expected)
