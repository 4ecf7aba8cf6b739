from pathlib import Path

import pytest

from mien.photos import people_in, photos_in


def _touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_folders_are_searched_below_and_files_taken_as_they_are(tmp_path: Path) -> None:
    _touch(tmp_path / "b/2.PNG", tmp_path / "b/a/1.jpeg", tmp_path / "b/notes.txt", tmp_path / "b/._1.jpg")
    _touch(tmp_path / "c.bin")
    found = photos_in([tmp_path / "c.bin", tmp_path / "b"])
    assert found == [tmp_path / "c.bin", tmp_path / "b/2.PNG", tmp_path / "b/a/1.jpeg"]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg: no such file or folder"):
        photos_in([tmp_path / "nowhere.jpg"])


def test_every_folder_is_a_person(tmp_path: Path) -> None:
    _touch(tmp_path / "Ада/1.jpg", tmp_path / "Bob/2.jpg", tmp_path / "Bob/1.jpg", tmp_path / "loose.jpg")
    (tmp_path / "empty").mkdir()
    assert people_in(tmp_path) == {
        "Bob": [tmp_path / "Bob/1.jpg", tmp_path / "Bob/2.jpg"],
        "Ада": [tmp_path / "Ада/1.jpg"],
    }


def test_a_folder_without_people_says_what_is_expected(tmp_path: Path) -> None:
    _touch(tmp_path / "loose.jpg")
    with pytest.raises(FileNotFoundError, match="one folder per person is expected"):
        people_in(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        people_in(tmp_path / "nowhere")
