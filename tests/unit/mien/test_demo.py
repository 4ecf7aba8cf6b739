"""The parts of the demo that need no platform."""

import io
from pathlib import Path

import pytest
from PIL import Image

from libs.common.wire.estimations import Rect
from mien.demo.material import Photo, from_folder, portraits
from mien.demo.sheet import BLUE, CELL, COLOURS, GAP, Cell, draw
from mien.demo.verdict import Verdict, judge
from mien.enrolment import Enrolled
from mien.recognition import SeenFace, Sighting
from tests import photos

ADA, BOB, UNKNOWN = (
    SeenFace(Rect(x=10, y=20, width=30, height=40), person, similarity, "e")
    for person, similarity in (("Ada", 0.97), ("Bob", 0.91), (None, None))
)
A_PERSON = Photo("1.jpg", b"", "Ada")
A_STRANGER = Photo("2.jpg", b"", "Ada", "stranger")
NOBODY = Photo("3.jpg", b"", shows="nobody")


@pytest.mark.parametrize(
    ("photo", "faces", "verdict"),
    [
        (A_PERSON, [ADA], Verdict.RIGHT),
        (A_PERSON, [BOB], Verdict.WRONG),
        (A_PERSON, [UNKNOWN], Verdict.MISSED),
        (A_PERSON, [], Verdict.MISSED),
        (A_PERSON, [BOB, ADA, UNKNOWN], Verdict.RIGHT),
        (A_PERSON, [BOB, UNKNOWN], Verdict.MISSED),
        (A_STRANGER, [UNKNOWN], Verdict.RIGHT),
        (A_STRANGER, [BOB], Verdict.WRONG),
        (A_STRANGER, [BOB, UNKNOWN], Verdict.RIGHT),
        (A_STRANGER, [BOB, ADA], Verdict.WRONG),
        (A_STRANGER, [], Verdict.MISSED),
        (NOBODY, [], Verdict.RIGHT),
        (NOBODY, [UNKNOWN], Verdict.WRONG),
    ],
)
def test_the_verdict_on_a_photo(photo: Photo, faces: list[SeenFace], verdict: Verdict) -> None:
    assert judge(photo, Sighting(photo.name, faces, 1.0)) is verdict


def test_a_photo_that_failed_is_neither_right_nor_wrong() -> None:
    assert judge(NOBODY, Sighting("3.jpg", [], 1.0, error="broken")) is Verdict.FAILED


def test_nobody_is_expected_by_name_before_being_enrolled() -> None:
    known: set[str] = set()
    for act in portraits():
        known |= {photo.person for photo in act.enrol}
        for photo in act.emit:
            assert (photo.shows == "person") == (photo.person in known), photo.name
            assert Image.open(io.BytesIO(photo.data)).format == "JPEG"
    assert known == {"Eileen Collins", "Grace Hopper"}


def test_half_of_each_folder_is_enrolled_and_a_single_photo_is_a_stranger(tmp_path: Path) -> None:
    for person, count in (("Ada", 3), ("Bob", 2), ("Eve", 1)):
        (tmp_path / person).mkdir()
        for number in range(count):
            (tmp_path / person / f"{number}.jpg").write_bytes(b"x")
    [act] = from_folder(tmp_path)
    assert [photo.name for photo in act.enrol] == ["Ada/0.jpg", "Ada/1.jpg", "Bob/0.jpg"]
    assert [(photo.name, photo.expected) for photo in act.emit] == [
        ("Ada/2.jpg", "Ada"),
        ("Bob/1.jpg", "Bob"),
        ("Eve/0.jpg", "a stranger"),
    ]


def test_the_sheet_colours_what_was_right_and_what_was_wrong(tmp_path: Path) -> None:
    picture = photos.astronaut_jpeg()
    right, enrolled = Photo("right", picture, "Ada"), Photo("enrolled", picture, "Ada")
    wrong, broken = Photo("wrong " * 30, picture, "Eve"), Photo("broken", b"no picture", "Eve")
    path = draw(
        [
            Cell(enrolled, Enrolled("enrolled", "Ada", "id")),
            Cell(broken, Enrolled("broken", "Eve", reason="no face was found")),
            Cell(right, seen=Sighting("right", [ADA], 1.0), verdict=Verdict.RIGHT),
            Cell(wrong, seen=Sighting("wrong", [BOB], 1.0), verdict=Verdict.WRONG),
            Cell(broken, seen=Sighting("broken", [], 1.0, error="no picture"), verdict=Verdict.FAILED),
        ],
        tmp_path / "new" / "folder",
    )
    assert path == (tmp_path / "new" / "folder" / "contact-sheet.png").resolve()
    sheet = Image.open(path).convert("RGB")
    frames = [sheet.getpixel((GAP + column * (CELL + GAP) + 1, GAP + 1)) for column in range(4)]
    expected = [BLUE, COLOURS[Verdict.MISSED], COLOURS[Verdict.RIGHT], COLOURS[Verdict.WRONG]]
    assert frames == [tuple(bytes.fromhex(colour[1:])) for colour in expected]


def test_boxes_lie_on_the_upright_picture(tmp_path: Path) -> None:
    """Rectangles are of the EXIF-rotated source, so the sheet has to turn the picture as well."""
    encoded, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (360, 180), "white").save(encoded, "JPEG", exif=exif)
    face = SeenFace(Rect(x=40, y=300, width=100, height=50), "Ada", 0.9, "e")
    cell = Cell(Photo("turned", encoded.getvalue(), "Ada"), seen=Sighting("t", [face], 1.0), verdict=Verdict.RIGHT)
    sheet = Image.open(draw([cell], tmp_path)).convert("RGB")
    left = GAP + (CELL - 180) // 2
    assert sheet.getpixel((left + 40, GAP + 325)) == tuple(bytes.fromhex(COLOURS[Verdict.RIGHT][1:]))
