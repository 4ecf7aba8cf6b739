"""Texts that only who has the key can read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from libs.common.errors import Code, MienError
from libs.common.sealing import Seal, key_in
from libs.common.settings import StorageSettings
from libs.common.storage.storage import Storage

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_opens_and_shows_nothing(text: str) -> None:
    seal = Seal([NEW])
    sealed = seal.seal(text)
    assert seal.open(sealed) == text
    assert seal.seal(text) != sealed, "the same text is not recognised"
    assert seal.open(seal.open(seal.seal(sealed))) == text, "a text that looks sealed is one like any other"


def test_keys_are_changed_without_losing_what_the_old_one_sealed() -> None:
    before = Seal([OLD]).seal("open sesame")
    both = Seal([NEW, OLD])
    assert both.open(before) == "open sesame"
    assert Seal([NEW]).open(both.seal("open sesame")) == "open sesame"
    with pytest.raises(ValueError, match="sealed with a key that is not here"):
        Seal([NEW]).open(before)


def test_what_was_kept_before_there_was_a_seal_is_read_as_it_is() -> None:
    assert Seal([NEW]).open("open sesame") == "open sesame"


def test_a_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "data" / "secret.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: key_in(file), range(32)))
    assert len(keys) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["secret.key"]
    assert Seal([key_in(file)]).open(Seal(list(keys)).seal("text")) == "text"


@pytest.mark.parametrize("key", ["hunter2", f"{NEW},hunter2"], ids=["alone", "after a good one"])
def test_a_wrong_key_is_refused_without_being_quoted(key: str, tmp_path: Path) -> None:
    storage = Storage(StorageSettings(data_dir=tmp_path, secret_key=SecretStr(key)))
    with pytest.raises(MienError, match="MIEN_SECRET_KEY: a key is 32 bytes") as refused:
        _ = storage.seal
    assert refused.value.code is Code.BAD_BODY
    assert "hunter2" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
