"""Exact nearest neighbours in memory: a matrix of descriptors by id, and its search.

The search has two passes. The first one scores every row with an 8-bit integer product (a quarter of the
bytes, four times the arithmetic of float32; ``bench/matcher.py``) and keeps each row whose score *could* be
among the best, by a proven bound on what the rounding to 8 bits can change. The second one measures the true
distance of those few in float64. So the answer is exact, whatever the first pass rounded away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

SEGMENT = 65_536
"""Rows of a segment. Growing never moves more than one segment's worth of rows."""
FIRST_CAPACITY = 64
BATCH = 64
"""Queries of one pass."""
SCORES = 1 << 18
"""Scores held at once: small enough for the cache, large enough to hide the cost of a Python step."""
GROUP = 16
"""Rows whose best score is looked at first."""
LOWEST = float(np.finfo(np.float32).min)
"""Lower than any row's score; a place without a row scores minus infinity."""

Hits = tuple[list[str], np.ndarray]
"""What one query found, nearest first: ids, and Euclidean distances (float64)."""


class Matrix:
    """Descriptors of one version by id. Not thread-safe: one thread owns it."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._ids: list[str] = []
        self._slot_of: dict[str, int] = {}
        self._segments: list[_Segment] = []

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self._slot_of

    def put(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Add rows, or replace those whose id is there. ``vectors``: float32 (len(ids), length), finite."""
        slots = np.fromiter((self._claim(row_id) for row_id in ids), np.int64, len(ids))
        for segment, here in self._by_segment(slots):
            segment.write(slots[here] % SEGMENT, vectors[here])

    def remove(self, row_id: str) -> None:
        """Forget a row, if it is there. The last row takes its slot, so the matrix stays dense."""
        slot = self._slot_of.pop(row_id, None)
        if slot is None:
            return
        last_id = self._ids.pop()
        last = len(self._ids)
        if slot != last:
            self._segment(slot).copy(slot % SEGMENT, self._segment(last), last % SEGMENT)
            self._ids[slot] = last_id
            self._slot_of[last_id] = slot
        if last % SEGMENT == 0:
            self._segments.pop()

    def search(
        self,
        queries: np.ndarray,
        limit: int,
        max_distance: float = np.inf,
        only: Sequence[str] | None = None,
    ) -> list[Hits]:
        """The ``limit`` nearest rows of each query, no farther than ``max_distance`` (inclusive).

        ``queries``: float32 (n, length). Equal distances keep the lower id first; an equal vector is at
        distance 0 exactly. ``only`` restricts the search to those ids, unknown ones are ignored.
        """
        slots = None if only is None else self._slots(only)
        found: list[Hits] = []
        for start in range(0, len(queries), BATCH):
            batch = np.ascontiguousarray(queries[start : start + BATCH], dtype=np.float32)
            query, slot = self._shortlist(batch, limit, max_distance, slots)
            found += self._ranked(batch, query, slot, limit, max_distance)
        return found

    def _claim(self, row_id: str) -> int:
        """The slot of a row, a new one at the end when it has none."""
        slot = self._slot_of.setdefault(row_id, len(self._ids))
        if slot == len(self._ids):
            self._ids.append(row_id)
            if slot % SEGMENT == 0:
                self._segments.append(_Segment(self.length))
        return slot

    def _segment(self, slot: int) -> _Segment:
        return self._segments[slot // SEGMENT]

    def _by_segment(self, slots: np.ndarray) -> Iterator[tuple[_Segment, np.ndarray]]:
        """The segments some ``slots`` lie in, each with the positions of its own."""
        owner = slots // SEGMENT
        for number in np.unique(owner):
            yield self._segments[number], np.flatnonzero(owner == number)

    def _slots(self, ids: Sequence[str]) -> np.ndarray:
        known = {self._slot_of[row_id] for row_id in ids if row_id in self._slot_of}
        return np.array(sorted(known), dtype=np.int64)

    def _blocks(self, rows: int, slots: np.ndarray | None) -> Iterator[_Block]:
        """The rows to search, ``rows`` at a time: all of them in place, or copies of those in ``slots``."""
        if slots is None:
            for number, segment in enumerate(self._segments):
                filled = min(SEGMENT, len(self) - number * SEGMENT)
                for start in range(0, filled, rows):
                    part = slice(start, min(start + rows, filled))
                    yield segment.block(part, np.arange(part.start, part.stop) + number * SEGMENT)
            return
        for segment, here in self._by_segment(slots):
            for start in range(0, len(here), rows):
                part = slots[here[start : start + rows]]
                yield segment.block(part % SEGMENT, part)

    def _shortlist(
        self, queries: np.ndarray, limit: int, max_distance: float, slots: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (query, slot) among which every true answer is."""
        probe = _Probe(queries)
        shortlist = _Shortlist(probe.least_score(max_distance), limit)
        for block in self._blocks(probe.rows, slots):
            shortlist.add(block.slots, probe.scores(block), probe.margins(block))
        return shortlist.pairs()

    def _ranked(
        self, queries: np.ndarray, query: np.ndarray, slot: np.ndarray, limit: int, max_distance: float
    ) -> list[Hits]:
        """Measure the shortlist and sort it, query by query."""
        distance = self._distances(queries, query, slot)
        near = distance <= max_distance
        query, slot, distance = query[near], slot[near], distance[near]
        order = np.lexsort((distance, query))
        query, slot, distance = query[order], slot[order], distance[order]
        bounds = np.searchsorted(query, np.arange(len(queries) + 1)).tolist()
        return [self._nearest(slot[start:stop], distance[start:stop], limit) for start, stop in pairwise(bounds)]

    def _nearest(self, slot: np.ndarray, distance: np.ndarray, limit: int) -> Hits:
        """The first ``limit`` of rows sorted by distance; equal distances by id."""
        if len(distance) > limit:
            tied = np.searchsorted(distance, distance[limit - 1], side="right")
            slot, distance = slot[:tied], distance[:tied]
        pairs = sorted(zip(distance.tolist(), (self._ids[row] for row in slot.tolist()), strict=True))[:limit]
        return [row_id for _, row_id in pairs], np.array([far for far, _ in pairs], dtype=np.float64)

    def _distances(self, queries: np.ndarray, query: np.ndarray, slot: np.ndarray) -> np.ndarray:
        """Euclidean distances of pairs, float64, a bounded piece at a time."""
        distances = np.empty(len(slot))
        for start in range(0, len(slot), 8192):
            part = slice(start, start + 8192)
            difference = self._rows(slot[part]) - queries[query[part]].astype(np.float64)
            distances[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        return distances

    def _rows(self, slots: np.ndarray) -> np.ndarray:
        rows = np.empty((len(slots), self.length), dtype=np.float32)
        for segment, here in self._by_segment(slots):
            rows[here] = segment.rows[slots[here] % SEGMENT]
        return rows


class _Segment:
    """A run of rows: as given, and as 8-bit codes, each row with its own scale (``row ~ scale * code``).

    ``code_error`` and ``norm`` bound every row there ever was: the length of what coding lost, and of the
    row itself.
    """

    def __init__(self, length: int) -> None:
        self.rows = np.empty((FIRST_CAPACITY, length), dtype=np.float32)
        self.codes = np.empty((FIRST_CAPACITY, length), dtype=np.int8)
        self.scales = np.empty(FIRST_CAPACITY, dtype=np.float32)
        self.offsets = np.empty(FIRST_CAPACITY, dtype=np.float32)
        self.code_error = 0.0
        self.norm = 0.0

    def write(self, at: np.ndarray, vectors: np.ndarray) -> None:
        self._reserve(int(at.max()) + 1)
        codes, scales, errors = encode(vectors)
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        self.rows[at], self.codes[at], self.scales[at] = vectors, codes, scales
        self.offsets[at] = -(norms**2) / 2
        self.code_error = max(self.code_error, float(errors.max()))
        self.norm = max(self.norm, float(norms.max()))

    def copy(self, to: int, source: _Segment, at: int) -> None:
        for mine, theirs in zip(self._columns(), source._columns(), strict=True):
            mine[to] = theirs[at]
        self.code_error = max(self.code_error, source.code_error)
        self.norm = max(self.norm, source.norm)

    def block(self, part: slice | np.ndarray, slots: np.ndarray) -> _Block:
        return _Block(slots, self.codes[part], self.scales[part], self.offsets[part], self.code_error, self.norm)

    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.rows, self.codes, self.scales, self.offsets

    def _reserve(self, rows: int) -> None:
        capacity = len(self.rows)
        if rows <= capacity:
            return
        while capacity < rows:
            capacity *= 2
        self.rows, self.codes, self.scales, self.offsets = (
            np.concatenate([column, np.empty((capacity - len(column), *column.shape[1:]), column.dtype)])
            for column in self._columns()
        )


@dataclass
class _Block:
    """Rows of one segment, ready to be scored."""

    slots: np.ndarray
    codes: np.ndarray
    scales: np.ndarray
    offsets: np.ndarray
    code_error: float
    norm: float


class _Probe:
    """A batch of queries. A row's score is ``q.x - |x|^2 / 2``: the nearer the row, the higher its score."""

    def __init__(self, queries: np.ndarray) -> None:
        self._norms = np.linalg.norm(queries.astype(np.float64), axis=1)
        peak = float(np.abs(queries).max(initial=0.0))
        self._scale = peak / 127 if peak else 1.0
        codes = np.rint(queries / self._scale)
        self._errors = np.linalg.norm(queries - self._scale * codes.astype(np.float64), axis=1)
        self._codes = torch.from_numpy(codes.astype(np.int8))
        self._buffer = torch.empty(len(queries) * self.rows)

    @property
    def rows(self) -> int:
        """Rows of the largest block it can score."""
        return max(SCORES // len(self._norms), BATCH)

    def least_score(self, max_distance: float) -> np.ndarray:
        """The score of a row at ``max_distance``, from ``|q-x|^2 = |q|^2 - 2 score``."""
        if max_distance < 0:
            return np.full(len(self._norms), np.inf)
        return np.maximum((self._norms**2 - max_distance**2) / 2, LOWEST)

    def scores(self, block: _Block) -> np.ndarray:
        """Approximate scores, float32 (queries, rows), in memory that the next block uses again."""
        products = multiply(self._codes, torch.from_numpy(block.codes).T)
        scores = self._buffer[: products.numel()].view(products.shape).copy_(products)
        scales = torch.from_numpy(block.scales * np.float32(self._scale))
        return torch.addcmul(torch.from_numpy(block.offsets), scores, scales, out=scores).numpy()

    def margins(self, block: _Block) -> np.ndarray:
        """How far an approximate score can be from the true one, per query.

        With q = q' + dq and x = x' + dx (coded and lost parts), |q.x - q'.x'| <= |dq||x'| + |q||dx| by
        Cauchy-Schwarz; the last term covers what float32 rounds off the score itself, which is 2^-24 of it a
        step, or all of it below 2^-126.
        """
        coded_norm = block.norm + block.code_error
        rounding = 4e-6 * (self._norms * coded_norm + block.norm**2) + 1e-35
        return self._errors * coded_norm + self._norms * block.code_error + rounding


class _Shortlist:
    """The rows that may be among the ``limit`` best of each query, as far as seen.

    Scores are looked at by groups of ``GROUP`` rows: most groups have a best score that is too low, and the
    bests of different groups are scores of different rows, which is all the floor needs.
    """

    def __init__(self, least: np.ndarray, limit: int) -> None:
        self._limit = limit
        self._least = least
        self._best = np.full((len(least), limit), -np.inf, dtype=np.float32)
        self._floor = least.copy()
        self._seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, slots: np.ndarray, scores: np.ndarray, margins: np.ndarray) -> None:
        """Rows ``slots`` have ``scores`` (queries, rows), each right to within its query's margin."""
        grouped = _in_groups(scores)
        best = grouped.max(axis=1)
        self._raise_floor(best - margins[:, None])
        passing = (self._floor - margins).astype(np.float32)
        query, group = np.nonzero(best >= passing[:, None])
        inside, member = np.nonzero(grouped[query, :, group] >= passing[query, None])
        query, column = query[inside], member * best.shape[1] + group[inside]
        self._seen.append((query, slots[column], scores[query, column] + margins[query]))

    def _raise_floor(self, certain: np.ndarray) -> None:
        """The floor is a score that ``limit`` rows certainly have: none below it can be an answer.

        ``certain``: scores (queries, n) that as many different rows have at least.
        """
        better = np.flatnonzero(certain.max(axis=1) > self._floor)
        both = np.concatenate([self._best[better], certain[better]], axis=1)
        self._best[better] = np.partition(both, -self._limit, axis=1)[:, -self._limit :]
        self._floor = np.maximum(self._least, self._best.min(axis=1))

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Queries and slots of the rows that may still be answers."""
        if not self._seen:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        query, slot, most = (np.concatenate(column) for column in zip(*self._seen, strict=True))
        kept = most >= self._floor[query]
        return query[kept], slot[kept]


def _in_groups(scores: np.ndarray) -> np.ndarray:
    """Scores (queries, rows) as (queries, GROUP, groups): row ``r`` is in group ``r % groups``."""
    queries, rows = scores.shape
    missing = -rows % GROUP
    if missing:
        scores = np.concatenate([scores, np.full((queries, missing), -np.inf, dtype=np.float32)], axis=1)
    return scores.reshape(queries, GROUP, -1)


def encode(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (int8), scales (float32) and the length of what coding lost (float64), row by row."""
    scales = np.abs(vectors).max(axis=1) / np.float32(127)
    scales[scales == 0] = 1
    codes = np.rint(vectors / scales[:, None]).clip(-127, 127)
    errors = np.linalg.norm(vectors - codes.astype(np.float64) * scales[:, None], axis=1)
    return codes.astype(np.int8), scales, errors


def multiply_as_floats(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The int8 matrix product through float32, exact while a row has at most 1040 components (2^24 / 127^2)."""
    return torch.mm(left.float(), right.float())


multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = getattr(torch, "_int_mm", multiply_as_floats)
"""int8 x int8 -> int32. The fast one has a private name in torch, so there is another and a test of both."""
