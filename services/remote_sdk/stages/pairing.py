"""Which face belongs to which body."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.remote_sdk.stages.crops import Box

# Of 84 pairs of YuNet's faces and FastestDet's bodies in the test photos: the top of the face lies 0.03 to 0.86 of its
# height below the top of the body (96 %; half 0.3; 1.18 at most), its centre at most 0.37 of the body's width aside.
_TOP = 0.3
_REACH_Y, _REACH_X = 2.0, 0.5
_INSIDE = 0.6  # of the face's area
_NARROWER = 1.25  # a body is at least as wide as its face, but for what the two detectors disagree about


def paired(faces: Sequence[Box], bodies: Sequence[Box]) -> dict[int, int]:
    """The number of the body of each face that has one; nobody has two.

    Of all ways to pair them that with the largest sum of fits: the places of the heads in their bodies decide, of all
    people together. So of two people one before the other each has his own head.
    """
    fits = np.array([[_fit(face, body) for body in bodies] for face in faces]).reshape(len(faces), len(bodies))
    return {face: body for face, body in best_assignment(fits) if fits[face, body] > 0}


def _fit(face: Box, body: Box) -> float:
    """1 where the head is exactly where a head is in a body, 0 where it cannot be this body's."""
    if face.width > _NARROWER * body.width or _part_inside(face, body) < _INSIDE:
        return 0.0
    down = (face.top - body.top) / face.height - _TOP
    aside = (face.centre[0] - body.centre[0]) / body.width
    return max(1 - math.hypot(down / _REACH_Y, aside / _REACH_X), 0.0)


def _part_inside(inner: Box, outer: Box) -> float:
    across = min(inner.right, outer.right) - max(inner.left, outer.left)
    down = min(inner.bottom, outer.bottom) - max(inner.top, outer.top)
    return max(across, 0) * max(down, 0) / (inner.width * inner.height)


def best_assignment(gain: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Rows and columns, each at most once, min(rows, columns) of them, with the largest sum. gain: (rows, columns).

    The Hungarian method with potentials (Kuhn, Munkres; in the form of Jonker and Volgenant, 1987): rows are added one
    by one, each along the cheapest alternating path. O(rows² columns): 100 faces and bodies take 20 ms.
    """
    if gain.shape[0] > gain.shape[1]:
        return [(row, column) for column, row in best_assignment(gain.T)]
    rows, columns = gain.shape
    row_of = np.full(columns + 1, -1)  # the last column is a start for the row that is added
    of_rows, of_columns = np.zeros(rows), np.zeros(columns + 1)
    for row in range(rows):
        row_of[columns] = row
        _add_row(-gain, row_of, of_rows, of_columns)
    return [(int(row), column) for column, row in enumerate(row_of[:columns]) if row >= 0]


def _add_row(cost: NDArray[np.float64], row_of: NDArray, of_rows: NDArray, of_columns: NDArray) -> None:
    """Extend an optimal assignment by the row that waits in the last column; all but ``cost`` are changed."""
    columns = cost.shape[1]
    cheapest, before = np.full(columns, np.inf), np.full(columns, columns)
    seen = np.zeros(columns + 1, bool)
    column = columns
    while row_of[column] >= 0:
        seen[column] = True
        row = row_of[column]
        open_ = ~seen[:columns]
        reduced = cost[row] - of_rows[row] - of_columns[:columns]
        nearer = open_ & (reduced < cheapest)
        cheapest[nearer], before[nearer] = reduced[nearer], column
        column_next = int(np.where(open_, cheapest, np.inf).argmin())
        step = cheapest[column_next]
        of_rows[row_of[seen]] += step
        of_columns[seen] -= step
        cheapest[open_] -= step
        column = column_next
    while column != columns:
        row_of[column] = row_of[before[column]]
        column = int(before[column])
    row_of[columns] = -1
