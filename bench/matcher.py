"""Speed of the exact matcher beside faiss: ``OMP_NUM_THREADS=1 python -m bench.matcher [rows ...]``.

Both search the same gallery in turns within one run, on one thread, three candidates per query. The gallery is random
with the face network's geometry: ten pictures of each person, descriptors of norm 1.4, those of one person 0.4 apart,
of two people 0.9. faiss has the BLAS threshold its default misses (``distance_compute_blas_threshold = 16 * d``;
without it batches are up to six times slower). Figures are medians; read the ratio, for absolutes move with the
machine. The answers are right when every candidate is as near as faiss's of the same rank.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import faiss
import numpy as np
import torch

from services.matcher.engine import Matrix

LENGTH, LIMIT = 128, 3
CENTRE, PERSON, PICTURE = 1.25, 0.57, 0.28
"""Lengths of what all descriptors share, of what one person's share, and of what is one picture's own."""
PICTURES = 10
BATCHES = (1, 8, 64)
ROUNDS = 7


class Faces:
    """Draws descriptors of the same people."""

    def __init__(self, rng: np.random.Generator, people: int) -> None:
        self._rng = rng
        self._people = self._drawn(1, CENTRE) + self._drawn(people, PERSON)

    def draw(self, count: int) -> np.ndarray:
        """Pictures of people taken at random, float32 (count, LENGTH)."""
        return self._people[self._rng.integers(0, len(self._people), count)] + self._drawn(count, PICTURE)

    def _drawn(self, count: int, norm: float) -> np.ndarray:
        return self._rng.standard_normal((count, LENGTH), dtype=np.float32) * np.float32(norm / LENGTH**0.5)


def seconds(search: Callable[[], object]) -> float:
    started = time.perf_counter()
    search()
    return time.perf_counter() - started


def race(rows: int, rng: np.random.Generator) -> None:
    """One gallery, every batch size."""
    faces = Faces(rng, max(1, rows // PICTURES))
    gallery = faces.draw(rows)
    by_distance, by_product = faiss.IndexFlatL2(LENGTH), faiss.IndexFlatIP(LENGTH)
    matrix = Matrix(LENGTH)
    for index in (by_distance, by_product):
        index.add(gallery)  # type: ignore[call-arg]
    filled = seconds(lambda: matrix.put([f"{row:07d}" for row in range(rows)], gallery))
    print(f"{rows} rows; filled at {rows / filled:,.0f} rows/s")
    for batch in BATCHES:
        queries = faces.draw(batch)
        searches: dict[str, Callable[[], object]] = {
            "flat L2": lambda queries=queries: by_distance.search(queries, LIMIT),
            "flat IP": lambda queries=queries: by_product.search(queries, LIMIT),
            "matcher": lambda queries=queries: matrix.search(queries, LIMIT),
        }
        times = {name: [seconds(search)] for name, search in searches.items()}
        for _ in range(ROUNDS):
            for name, search in searches.items():
                times[name].append(seconds(search))
        rate = {name: batch / float(np.median(taken[1:])) for name, taken in times.items()}
        print(
            f"  batch {batch:3}: "
            + ", ".join(f"{name} {qps:9,.0f} QPS" for name, qps in rate.items())
            + f", matcher / best flat {rate['matcher'] / max(rate['flat L2'], rate['flat IP']):.2f}"
            + f", answers {'right' if as_near(gallery, queries, matrix, by_distance) else 'WRONG'}"
        )


def as_near(gallery: np.ndarray, queries: np.ndarray, matrix: Matrix, index: faiss.Index) -> bool:
    """Whether the matcher's candidates are as near as those of faiss, whose float32 may swap near equals."""
    _, rows = index.search(queries, LIMIT)  # type: ignore[call-arg]
    theirs = np.linalg.norm(gallery[rows].astype(np.float64) - queries[:, None], axis=2)
    ours = np.stack([distances for _, distances in matrix.search(queries, LIMIT)])
    return bool((ours <= np.sort(theirs, axis=1) + 1e-9).all())


def main() -> None:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = 16 * LENGTH
    rng = np.random.default_rng(1)
    for rows in map(int, sys.argv[1:] or ("1000", "100000", "1000000")):
        race(rows, rng)


if __name__ == "__main__":
    main()
