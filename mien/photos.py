"""Photos as people keep them: files, folders, one folder per person."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"})


def photos_in(paths: Iterable[Path]) -> list[Path]:
    """The given files as they are, and every picture in the given folders and below, sorted.

    Raises FileNotFoundError for a path that is neither.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.rglob("*") if _is_photo(file))
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    return found


def people_in(folder: Path) -> dict[str, list[Path]]:
    """The photos of each person, by name: every folder inside ``folder`` is one person, its name theirs.

    Raises FileNotFoundError when ``folder`` is no folder or holds no folder with photos.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    people = {person.name: photos_in([person]) for person in sorted(folder.iterdir()) if person.is_dir()}
    people = {name: photos for name, photos in people.items() if photos}
    if not people:
        raise FileNotFoundError(f"{folder}: holds no folder with photos; one folder per person is expected")
    return people


def _is_photo(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")
