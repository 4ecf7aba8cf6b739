"""What the demo shows: who is enrolled, which photos are emitted, and whom each of them should show.

Without photos of your own, two public-domain portraits that PyPI packages carry, and a few pictures without people.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import matplotlib
from PIL import Image, ImageEnhance
from skimage import data

from mien.photos import people_in

Shows = Literal["person", "stranger", "nobody"]


@dataclass(frozen=True)
class Photo:
    """One photo. ``person`` is who is in it; a stranger is somebody who is not enrolled at that moment."""

    name: str
    data: bytes
    person: str = ""
    shows: Shows = "person"

    @property
    def expected(self) -> str:
        """Whom the platform should see, in words."""
        return {"person": self.person, "stranger": "a stranger", "nobody": "nobody"}[self.shows]


@dataclass(frozen=True)
class Act:
    """Some photos are enrolled, then others are emitted."""

    title: str
    enrol: list[Photo] = field(default_factory=list)
    emit: list[Photo] = field(default_factory=list)


COLLINS, HOPPER = "Eileen Collins", "Grace Hopper"

EMPTY = ("coffee", "chelsea", "rocket", "brick")
"""Pictures of scikit-image with nobody in them: a cup, a cat, a launch pad, a wall."""

VARIANTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half size": lambda picture: _resized(picture, 0.5),
    "double size": lambda picture: _resized(picture, 2.0),
    "turned 7 deg": lambda picture: picture.rotate(7, Image.Resampling.BICUBIC),
    "turned -6 deg": lambda picture: picture.rotate(-6, Image.Resampling.BICUBIC),
    "dark": lambda picture: ImageEnhance.Brightness(picture).enhance(0.4),
    "cropped": lambda picture: _cropped(picture, 0.12),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
}
POOR_QUALITY = 12
"""Of the JPEG that stands for a poor camera."""


def portraits() -> list[Act]:
    """The two portraits: one becomes known while the other is still a stranger, then both are known."""
    collins = Image.fromarray(data.astronaut())
    hopper = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    nobody = [Photo(name, _encoded(Image.fromarray(getattr(data, name)())), shows="nobody") for name in EMPTY]
    return [
        Act(
            f"Only {COLLINS} is known; {HOPPER} is a stranger",
            enrol=[Photo("Collins, original", _encoded(collins), COLLINS)],
            emit=[Photo("Hopper, original", _encoded(hopper), HOPPER, "stranger"), *nobody],
        ),
        Act(
            f"{HOPPER} is known too",
            enrol=[Photo("Hopper, original", _encoded(hopper), HOPPER)],
            emit=[*_variants("Collins", collins, COLLINS), *_variants("Hopper", hopper, HOPPER)],
        ),
    ]


def from_folder(folder: Path) -> list[Act]:
    """Your own photos, one folder per person: the first half of each (rounded up) is enrolled, the rest emitted.

    A person with a single photo stays a stranger: the photo is emitted and should be called by nobody's name.
    Raises FileNotFoundError when there is no such folder or nobody in it.
    """
    act = Act(f"Photos of {folder}")
    for person, paths in people_in(folder).items():
        photos = [Photo(f"{person}/{path.name}", path.read_bytes(), person) for path in paths]
        if len(photos) == 1:
            act.emit.append(Photo(photos[0].name, photos[0].data, person, "stranger"))
            continue
        half = (len(photos) + 1) // 2
        act.enrol.extend(photos[:half])
        act.emit.extend(photos[half:])
    return [act]


def _variants(name: str, picture: Image.Image, person: str) -> list[Photo]:
    changed = [Photo(f"{name}, {how}", _encoded(change(picture)), person) for how, change in VARIANTS.items()]
    return [*changed, Photo(f"{name}, poor JPEG", _encoded(picture, POOR_QUALITY), person)]


def _resized(picture: Image.Image, factor: float) -> Image.Image:
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _cropped(picture: Image.Image, share: float) -> Image.Image:
    """Without ``share`` of the width and of the height on either side."""
    across, down = round(picture.width * share), round(picture.height * share)
    return picture.crop((across, 0, picture.width - across, picture.height - 2 * down))


def _encoded(picture: Image.Image, quality: int = 95) -> bytes:
    encoded = io.BytesIO()
    picture.convert("RGB").save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()
