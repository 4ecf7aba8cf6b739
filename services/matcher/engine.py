"""Exact nearest neighbours in memory: a matrix of descriptors by id, and its search.

The search has two passes. The first one scores every row with an 8-bit integer product (a quarter of the
bytes, four times the arithmetic of float32; ``bench/matcher.py``) and keeps each row whose score *could* be
among the best, by a proven bound on what the rounding to 8 bits can change. The second one measures the true
distance of those few in float64. So the answer is exact, whatever the first pass rounded away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
PIECE = 8192
"""Rows handled at once where each costs a few kilobytes."""
LOWEST = -1e38
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
            row = self._segment(last).rows[last % SEGMENT]
            self._segment(slot).write(np.array([slot % SEGMENT]), row[None])
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

    def _searched(self, slots: np.ndarray | None) -> Iterator[tuple[int, _Segment, range | np.ndarray]]:
        """The segments to search, each with its first slot and its rows: all of them, or those in ``slots``."""
        if slots is not None:
            for segment, here in self._by_segment(slots):
                first = int(slots[here[0]]) // SEGMENT * SEGMENT
                yield first, segment, slots[here] - first
            return
        for number, segment in enumerate(self._segments):
            first = number * SEGMENT
            yield first, segment, range(min(SEGMENT, len(self) - first))

    def _shortlist(
        self, queries: np.ndarray, limit: int, max_distance: float, slots: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (query, slot) among which every true answer is."""
        shortlist = _Shortlist(len(queries), limit, max_distance)
        step = max(SCORES // len(queries), BATCH)
        for first, segment, rows in self._searched(slots):
            probe = _Probe(queries, segment)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                shortlist.add(first, part, probe)
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
        for start in range(0, len(slot), PIECE):
            part = slice(start, start + PIECE)
            difference = self._rows(slot[part]) - queries[query[part]].astype(np.float64)
            distances[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        return distances

    def _rows(self, slots: np.ndarray) -> np.ndarray:
        rows = np.empty((len(slots), self.length), dtype=np.float32)
        for segment, here in self._by_segment(slots):
            rows[here] = segment.rows[slots[here] % SEGMENT]
        return rows


class _Segment:
    """A run of rows: as given, and as 8-bit codes around ``centre``, each row with its own scale.

    ``row ~ centre + scale * code``. ``code_error`` and ``norm`` bound, for every row since the centre was set, the
    length of what coding lost and of ``row - centre``. ``offsets`` are half the squares of the latter, negative.
    """

    def __init__(self, length: int) -> None:
        self.rows = np.empty((0, length), dtype=np.float32)
        self.codes = np.empty((0, length), dtype=np.int8)
        self.scales = np.empty(0, dtype=np.float32)
        self.offsets = np.empty(0, dtype=np.float32)
        self.centre = np.zeros(length)
        self.code_error = self.norm = 0.0
        self._written = 0

    def write(self, at: np.ndarray, vectors: np.ndarray) -> None:
        """Set the rows ``at``. Whenever the segment has to grow, it is centred and coded anew."""
        self._written = max(self._written, int(at.max()) + 1)
        grows = self._written > len(self.rows)
        if grows:
            self._grow()
        self.rows[at] = vectors
        if grows:
            at = np.arange(self._written)
            self.centre = self.rows[: self._written].mean(axis=0, dtype=np.float64)
            self.code_error = self.norm = 0.0
        for start in range(0, len(at), PIECE):
            self._encode(at[start : start + PIECE])

    def _encode(self, at: np.ndarray) -> None:
        centred = self.rows[at] - self.centre
        codes, scales, errors = encode(centred)
        norms = np.linalg.norm(centred, axis=1)
        self.codes[at], self.scales[at], self.offsets[at] = codes, scales, -(norms**2) / 2
        self.code_error = max(self.code_error, float(errors.max()))
        self.norm = max(self.norm, float(norms.max()))

    def _grow(self) -> None:
        capacity = max(len(self.rows), FIRST_CAPACITY)
        while capacity < self._written:
            capacity *= 2
        self.rows, self.codes, self.scales, self.offsets = (
            np.concatenate([column, np.empty((capacity - len(column), *column.shape[1:]), column.dtype)])
            for column in (self.rows, self.codes, self.scales, self.offsets)
        )


class _Probe:
    """A batch of queries put to one segment.

    A row's score is ``q.x - |x|^2 / 2``, both seen from the segment's centre. ``score + shift`` is half the squared
    distance, negative; a score is right to within ``margin``. Both are float64, one per query.
    """

    def __init__(self, queries: np.ndarray, segment: _Segment) -> None:
        centred = queries - segment.centre
        peak = float(np.abs(centred).max(initial=0.0))
        self._scale = peak / 127 if peak else 1.0
        codes = np.rint(centred / self._scale)
        self._codes = torch.from_numpy(codes.astype(np.int8))
        self._segment = segment
        self._buffer = torch.empty(0)
        norms = np.linalg.norm(centred, axis=1)
        self.shift = -(norms**2) / 2
        self.margin = _margin(norms, np.linalg.norm(centred - self._scale * codes, axis=1), segment)

    def scores(self, rows: range | np.ndarray) -> np.ndarray:
        """Approximate scores, float32 (queries, rows), in memory that the next call uses again."""
        segment = self._segment
        part = slice(rows.start, rows.stop) if isinstance(rows, range) else rows
        products = multiply(self._codes, torch.from_numpy(segment.codes[part]).T)
        if len(self._buffer) < products.numel():
            self._buffer = torch.empty(products.numel())
        scores = self._buffer[: products.numel()].view(products.shape).copy_(products)
        scales = torch.from_numpy(segment.scales[part] * np.float32(self._scale))
        return torch.addcmul(torch.from_numpy(segment.offsets[part]), scores, scales, out=scores).numpy()


def _margin(norms: np.ndarray, errors: np.ndarray, segment: _Segment) -> np.ndarray:
    """How far an approximate score can be from the true one, for queries of these norms and coding errors.

    With q = q' + dq and x = x' + dx (coded and lost parts), |q.x - q'.x'| <= |dq||x'| + |q||dx| by Cauchy-Schwarz.
    The last term covers what float32 rounds off scores and sums of them, which is 2^-24 of them a step, or all of
    it below 2^-126.
    """
    lost = errors * (segment.norm + segment.code_error) + norms * segment.code_error
    return lost + 4e-6 * (norms + segment.norm) ** 2 + 1e-35


class _Shortlist:
    """The rows that may be among the ``limit`` best of each query, as far as seen.

    Scores are looked at by groups of ``GROUP`` rows: most groups have a best score that is too low, and the
    bests of different groups are scores of different rows, which is all the floor needs.
    """

    def __init__(self, queries: int, limit: int, max_distance: float) -> None:
        self._limit = limit
        self._least = max(-(max_distance**2) / 2, LOWEST) if max_distance >= 0 else np.inf
        self._best = np.full((queries, limit), -np.inf, dtype=np.float32)
        self._floor = np.full(queries, self._least)
        self._seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, first: int, rows: range | np.ndarray, probe: _Probe) -> None:
        """Look at ``rows`` of the segment that ``probe`` is put to and that begins at slot ``first``."""
        scores, shift, margin = probe.scores(rows), probe.shift, probe.margin
        grouped = _in_groups(scores)
        best = grouped.max(axis=1)
        self._raise_floor(best + (shift - margin)[:, None])
        passing = (self._floor - shift - margin).astype(np.float32)
        query, group = np.nonzero(best >= passing[:, None])
        inside, member = np.nonzero(grouped[query, :, group] >= passing[query, None])
        query, column = query[inside], member * best.shape[1] + group[inside]
        row = column + rows.start if isinstance(rows, range) else rows[column]
        self._seen.append((query, first + row, scores[query, column] + (shift + margin)[query]))

    def _raise_floor(self, certain: np.ndarray) -> None:
        """The floor is what ``limit`` rows certainly reach: none below it can be an answer.

        ``certain``: what n different rows certainly reach, (queries, n).
        """
        better = np.flatnonzero(certain.max(axis=1) > self._floor)
        both = np.concatenate([self._best[better], certain[better]], axis=1)
        self._best[better] = np.partition(both, -self._limit, axis=1)[:, -self._limit :]
        self._floor = np.maximum(self._least, self._best.min(axis=1).astype(np.float64))

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
    """Codes (int8), scales (float32) and the length of what coding lost, row by row, of float64 (n, length)."""
    scales = (np.abs(vectors).max(axis=1) / 127).astype(np.float32)
    scales[scales == 0] = 1
    codes = np.rint(vectors / scales[:, None]).clip(-127, 127)
    errors = np.linalg.norm(vectors - codes * scales[:, None], axis=1)
    return codes.astype(np.int8), scales, errors


def multiply_as_floats(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The int8 matrix product through float32, exact while a row has at most 1040 components (2^24 / 127^2)."""
    return torch.mm(left.float(), right.float())


multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = getattr(torch, "_int_mm", multiply_as_floats)
"""int8 x int8 -> int32. The fast one has a private name in torch, so there is another and a test of both."""
