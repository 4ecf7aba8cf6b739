"""The registry of descriptor versions: length, distance, and the mapping of distance to similarity.

Wire forms: *raw* is the bare vector as little-endian float32; *sdk descriptor* is an 8-byte header
(magic ``dp\\0\\1``, then the version as little-endian uint32) followed by the raw form.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np

from libs.common.errors import Code, MienError

Kind = Literal["face", "body"]

MAGIC = b"dp\x00\x01"
HEADER = struct.Struct("<4sI")
MAX_NORM = 1e6
"""No network's descriptor is nearly as long; squares of longer ones leave float32."""


@dataclass(frozen=True)
class Version:
    """One descriptor version.

    Similarity is ``1 / (1 + exp(slope * (distance - midpoint)))`` of the Euclidean distance between raw
    descriptors. ``source`` says where the two numbers come from.
    """

    number: int
    kind: Kind
    model: str
    length: int
    midpoint: float
    slope: float
    source: str

    def similarity(self, distance: np.ndarray) -> np.ndarray:
        """Similarity 0..1 of Euclidean distances, any shape, float32."""
        return 1.0 / (1.0 + np.exp(np.clip(self.slope * (distance - self.midpoint), -80.0, 80.0)))

    def distance(self, similarity: float) -> float:
        """The distance whose similarity is ``similarity``: the inverse, infinite at 0 and below zero at 1."""
        if similarity <= 0:
            return float("inf")
        if similarity >= 1:
            return float("-inf")
        return float(self.midpoint + np.log(1.0 / similarity - 1.0) / self.slope)


DLIB_RESNET = Version(
    number=1001,
    kind="face",
    model="dlib-resnet-v1",
    length=128,
    midpoint=0.58,
    slope=18.0,
    source="midpoint: middle of the 0.56..0.60 band in which both error rates were below 1 % on 1,692 held-out pairs "
    "(61 pictures of 13 people). slope: chosen, not fitted, for the photos at hand are separable: "
    "bench/calibration.py gives lower bounds of 11 on 6 same-person pairs and 13 on 11. With 18 the usual threshold "
    "0.9 is at distance 0.46, beyond all those pairs (0.33..0.44, similarity 0.93 and more); the two closest people "
    "(0.69) get 0.12.",
)

MOBILEFACENET = Version(
    number=1002,
    kind="face",
    model="mobilefacenet",
    length=128,
    midpoint=1.03,
    slope=9.0,
    source="of vectors of length 1, so that the distance is sqrt(2 - 2 cos). midpoint: the best threshold on 1,692 "
    "pairs (61 pictures of 13 people) was 1 - cos = 0.532, with no error. slope: chosen, not fitted: 0.9 is at 0.79.",
)

OMZ_REID = Version(
    number=2001,
    kind="body",
    model="person-reidentification-retail-0287",
    length=256,
    midpoint=0.9,
    slope=11.5,
    source="of vectors of length 1, so that the distance is sqrt(2 - 2 cos). Measured on 109 bodies of the test "
    "photos, each altered in six ways (mirrored, blurred, darkened, moved, cut, widened): 99 % of those have "
    "cos 0.65 and more, half 0.90; of pairs of different bodies 99 % have at most 0.55. midpoint: cos 0.6. slope: 0.9 "
    "is at cos 0.75. Photos of one person by several cameras were not at hand: expect lower values there.",
)

VERSIONS = {version.number: version for version in (DLIB_RESNET, MOBILEFACENET, OMZ_REID)}
DEFAULT_FACE = DLIB_RESNET.number
DEFAULT_BODY = OMZ_REID.number

_current: dict[Kind, int] = {"face": DEFAULT_FACE, "body": DEFAULT_BODY}


def register(version: Version) -> None:
    """Make a version of an operator's own known to this process; again is harmless.

    Raises BAD_DESCRIPTOR when the number stands for another kind or length.
    """
    known = VERSIONS.setdefault(version.number, version)
    if (known.kind, known.length) != (version.kind, version.length):
        raise MienError(
            Code.BAD_DESCRIPTOR,
            f"version {version.number} is {known.kind}, {known.length} values ({known.model}); "
            f"{version.model} is {version.kind}, {version.length} values",
        )


def use(kind: Kind, number: int) -> None:
    """Make ``number`` the version that this process describes and matches with; see :func:`current`.

    Raises DESCRIPTOR_VERSION_UNKNOWN, BAD_DESCRIPTOR when it is of the other kind.
    """
    if version_of(number).kind != kind:
        raise MienError(Code.BAD_DESCRIPTOR, f"descriptor version {number} is not of the kind {kind}")
    _current[kind] = number


def current(kind: Kind) -> int:
    """The version that is made and matched. One for the whole platform: descriptors of two do not compare."""
    return _current[kind]


def version_of(number: int) -> Version:
    """The registered version. Raises DESCRIPTOR_VERSION_UNKNOWN."""
    try:
        return VERSIONS[number]
    except KeyError:
        raise MienError(Code.DESCRIPTOR_VERSION_UNKNOWN, f"descriptor version {number} is not registered") from None


def vector(number: int, raw: bytes) -> np.ndarray:
    """The float32 vector of a raw descriptor, shape (length,). Raises BAD_DESCRIPTOR on a wrong length or value."""
    version = version_of(number)
    if len(raw) != version.length * 4:
        raise MienError(
            Code.BAD_DESCRIPTOR,
            f"version {number} has {version.length * 4} bytes, the descriptor has {len(raw)}",
        )
    values = np.frombuffer(raw, dtype="<f4")
    if not np.isfinite(values).all():
        raise MienError(Code.BAD_DESCRIPTOR, "descriptor holds a value that is not finite")
    if np.linalg.norm(values.astype(np.float64)) > MAX_NORM:
        raise MienError(Code.BAD_DESCRIPTOR, f"descriptor is longer than {MAX_NORM:g}")
    return values


def pack_sdk(number: int, raw: bytes) -> bytes:
    """The *sdk descriptor* form of a raw descriptor."""
    return HEADER.pack(MAGIC, number) + raw


def unpack_sdk(data: bytes) -> tuple[int, bytes]:
    """Version and raw form of an *sdk descriptor*. Raises BAD_DESCRIPTOR."""
    if len(data) <= HEADER.size or data[:4] != MAGIC:
        raise MienError(Code.BAD_DESCRIPTOR, "sdk descriptor has no valid header")
    return HEADER.unpack_from(data)[1], data[HEADER.size :]
