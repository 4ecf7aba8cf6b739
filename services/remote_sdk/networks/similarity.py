"""Turning, scaling and shifting points of the plane.

A similarity is two complex numbers per face, (turn, shift): point z = x + iy goes to turn * z + shift. |turn| is the
scale and its argument the angle. Least squares over such maps has a closed form; it is the transformation of
Umeyama (1991) as long as no mirroring fits better, which for faces would mean an eye below the mouth.
"""

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]


def plane(points: NDArray[np.floating]) -> Complex:
    """(..., 2) x and y to complex (...)."""
    return points[..., 0] + 1j * points[..., 1].astype(np.float64)


def fit(source: Complex, target: Complex) -> tuple[Complex, Complex]:
    """The similarities that bring source (k,) or (n, k) closest to target (n, k): turn (n,), shift (n,)."""
    source_mean = source.mean(-1, keepdims=True)
    target_mean = target.mean(-1, keepdims=True)
    centred = source - source_mean
    spread = (np.abs(centred) ** 2).sum(-1)
    turn = (np.conj(centred) * (target - target_mean)).sum(-1) / spread
    return turn, target_mean[..., 0] - turn * source_mean[..., 0]
