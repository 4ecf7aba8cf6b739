"""The contact sheet: every photo with its faces boxed and named, green for right, red for wrong."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont, ImageOps

from libs.common.wire.estimations import Rect
from mien.demo.material import Photo
from mien.demo.verdict import Verdict
from mien.enrolment import Enrolled
from mien.recognition import SeenFace, Sighting

COLUMNS, CELL, CAPTION, GAP = 4, 360, 52, 10
BACKGROUND, INK, FAINT = "#f4f4f2", "#1c1c1c", "#6b6b6b"
BLUE = "#2563eb"
COLOURS = {
    Verdict.RIGHT: "#15803d",
    Verdict.MISSED: "#b45309",
    Verdict.WRONG: "#dc2626",
    Verdict.FAILED: "#dc2626",
}
Box = tuple[float, float, float, float]

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
"""Comes with matplotlib, as one of the demo's portraits does; has Latin, Greek and Cyrillic letters."""


@dataclass(frozen=True)
class Cell:
    """One photo of the sheet: what came of enrolling it, or what was seen in it and whether that is right."""

    photo: Photo
    enrolled: Enrolled | None = None
    seen: Sighting | None = None
    verdict: Verdict | None = None

    @property
    def colour(self) -> str:
        if self.verdict:
            return COLOURS[self.verdict]
        return COLOURS[Verdict.MISSED] if self.enrolled and self.enrolled.reason else BLUE

    @property
    def outcome(self) -> str:
        """In one line, what happened."""
        if self.enrolled:
            return (
                f"not enrolled: {self.enrolled.reason}" if self.enrolled.reason else f"enrolled as {self.photo.person}"
            )
        assert self.verdict is not None
        assert self.seen is not None
        return f"{self.verdict.value}: expected {self.photo.expected}, {self.seen.ms:.0f} ms"


def draw(cells: list[Cell], folder: Path) -> Path:
    """Write the sheet into ``folder``, which is made when it is not there; answers its absolute path."""
    rows = -(-len(cells) // COLUMNS)
    width, height = CELL + GAP, CELL + CAPTION + GAP
    sheet = Image.new("RGB", (COLUMNS * width + GAP, rows * height + GAP), BACKGROUND)
    for position, cell in enumerate(cells):
        row, column = divmod(position, COLUMNS)
        sheet.paste(_cell(cell), (GAP + column * width, GAP + row * height))
    folder.mkdir(parents=True, exist_ok=True)
    path = (folder / "contact-sheet.png").resolve()
    sheet.save(path)
    return path


def _cell(cell: Cell) -> Image.Image:
    tile = Image.new("RGB", (CELL, CELL + CAPTION), "white")
    tile.paste(_picture(cell), (0, 0))
    pen = ImageDraw.Draw(tile)
    pen.rectangle((0, 0, CELL - 1, CELL + CAPTION - 1), outline=cell.colour, width=4)
    pen.text((10, CELL + 5), _fitted(cell.photo.name, 16), INK, _font(16))
    pen.text((10, CELL + 27), _fitted(cell.outcome, 14), cell.colour, _font(14))
    return tile


def _picture(cell: Cell) -> Image.Image:
    """The photo fitted into the square of a cell, its faces drawn."""
    square = Image.new("RGB", (CELL, CELL), "#ffffff")
    try:
        photo = ImageOps.exif_transpose(Image.open(io.BytesIO(cell.photo.data))).convert("RGB")
    except OSError:
        ImageDraw.Draw(square).text((CELL // 2, CELL // 2), "not a picture", FAINT, _font(16), anchor="mm")
        return square
    scale = min(CELL / photo.width, CELL / photo.height)
    small = photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))))
    left, top = (CELL - small.width) // 2, (CELL - small.height) // 2
    square.paste(small, (left, top))
    pen = ImageDraw.Draw(square)
    faces = cell.seen.faces if cell.seen else []
    placed = [(face, _placed(face.rect, scale, left, top)) for face in faces]
    for face, box in placed:
        pen.rectangle(box, outline=_face_colour(cell, face), width=3)
    for face, box in placed:
        _label(pen, _name(face, alone=len(faces) == 1), box, _face_colour(cell, face))
    return square


def _placed(rect: Rect, scale: float, left: int, top: int) -> Box:
    x, y = left + rect.x * scale, top + rect.y * scale
    return x, y, x + rect.width * scale, y + rect.height * scale


def _face_colour(cell: Cell, face: SeenFace) -> str:
    """In a photo of several people the verdict is about one of them; the others are drawn in blue."""
    about_all = cell.seen is None or len(cell.seen.faces) == 1
    return cell.colour if about_all or face.person == cell.photo.person else BLUE


def _name(face: SeenFace, *, alone: bool) -> str:
    if face.person is None:
        return "unknown" if alone else "?"
    return f"{face.person} {face.similarity:.2f}"


def _label(pen: ImageDraw.ImageDraw, text: str, box: Box, colour: str) -> None:
    """Above the box, or below it at the upper edge; moved left where it would leave the cell."""
    x, y, _, bottom = box
    place = (max(2.0, x), y - 20 if y >= 22 else min(bottom + 2, CELL - 22))
    area = pen.textbbox(place, text, _font(14))
    shift = min(0.0, CELL - 4 - area[2])
    pen.rectangle((area[0] - 3 + shift, area[1] - 3, area[2] + 3 + shift, area[3] + 3), fill=colour)
    pen.text((place[0] + shift, place[1]), text, "white", _font(14))


def _fitted(text: str, size: int) -> str:
    """``text`` cut to the width of a cell."""
    font = _font(size)
    while font.getlength(text) > CELL - 20:
        text = text.removesuffix("…")[:-1] + "…"
    return text


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT, size)
