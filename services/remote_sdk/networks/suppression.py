"""Of boxes that show the same thing only the best is kept, on the device where the boxes are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Same = Callable[[Tensor, Tensor], Tensor]
"""Boxes (n, ...) and (k, ...) to bool (n, k): which of them are of one thing. Symmetric."""

_BLOCK = 512  # boxes compared with each other at once: memory grows with the boxes kept, not with the square of all


def strongest(boxes: Tensor, same: Same) -> Tensor:
    """Indices, int64 (k,), of the boxes (n, ...), best first, that are the same as no better one that is kept.

    What greedy suppression keeps, box by box; but a block of boxes at a time, so that a GPU is not asked for each.
    """
    kept = torch.empty(0, dtype=torch.int64, device=boxes.device)
    for block in torch.arange(len(boxes), device=boxes.device).split(_BLOCK):
        if len(kept):
            block = block[~same(boxes[block], boxes[kept]).any(1)]
        kept = torch.cat([kept, block[_kept_within(same(boxes[block], boxes[block]))]])
    return kept


def _kept_within(same: Tensor) -> Tensor:
    """Which of n boxes, best first, are kept; same: bool (n, n).

    A box goes when a better one goes with it that is itself kept. Begun with all of them kept, the answer for the
    first k boxes is final after k rounds, and mostly all of it after two or three.
    """
    better = same.triu(1)
    kept = torch.ones(len(same), dtype=torch.bool, device=same.device)
    while not torch.equal(left := ~(better & kept[:, None]).any(0), kept):
        kept = left
    return kept
