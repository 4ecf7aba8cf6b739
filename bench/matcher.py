"""Speed of the exact matcher beside faiss: ``OMP_NUM_THREADS=1 python -m bench.matcher [rows ...]``.

Both search the same random gallery (128 components, norm 1.4, like the face network's) in turns within one run, on
one thread, three candidates per query, and the answers are compared. faiss has the BLAS threshold its default misses
(``distance_compute_blas_threshold = 16 * d``; without it batches are up to six times slower). Figures are medians;
read the ratio, for absolutes move with the machine.
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

LENGTH, NORM, LIMIT = 128, 1.4, 3
BATCHES = (1, 8, 64)
ROUNDS = 7


def vectors(rng: np.random.Generator, count: int) -> np.ndarray:
    drawn = rng.standard_normal((count, LENGTH), dtype=np.float32)
    return drawn * (NORM / np.linalg.norm(drawn, axis=1, keepdims=True))


def seconds(search: Callable[[], object]) -> float:
    started = time.perf_counter()
    search()
    return time.perf_counter() - started


def race(rows: int, rng: np.random.Generator) -> None:
    """One gallery, every batch size."""
    gallery = vectors(rng, rows)
    by_distance, by_product = faiss.IndexFlatL2(LENGTH), faiss.IndexFlatIP(LENGTH)
    matrix = Matrix(LENGTH)
    for index in (by_distance, by_product):
        index.add(gallery)  # type: ignore[call-arg]
    filled = seconds(lambda: matrix.put([f"{row:07d}" for row in range(rows)], gallery))
    print(f"{rows} rows; filled at {rows / filled:,.0f} rows/s")
    for batch in BATCHES:
        queries = vectors(rng, batch)
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
        _, expected = by_distance.search(queries, LIMIT)  # type: ignore[call-arg]
        answers = [[int(row) for row in ids] for ids, _ in matrix.search(queries, LIMIT)]
        print(
            f"  batch {batch:3}: "
            + ", ".join(f"{name} {qps:9,.0f} QPS" for name, qps in rate.items())
            + f", matcher / best flat {rate['matcher'] / max(rate['flat L2'], rate['flat IP']):.2f}"
            + f", answers {'equal' if answers == expected.tolist() else 'DIFFER'}"
        )


def main() -> None:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = 16 * LENGTH
    rng = np.random.default_rng(1)
    for rows in map(int, sys.argv[1:] or ("1000", "100000", "1000000")):
        race(rows, rng)


if __name__ == "__main__":
    main()
