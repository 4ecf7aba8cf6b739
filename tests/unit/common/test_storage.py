"""Stores as the settings name them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from libs.common.errors import Code, MienError
from libs.common.settings import StorageSettings
from libs.common.storage.storage import Storage

WHOLE: dict[str, Any] = {
    "s3_url": "https://s3.example",
    "s3_key": SecretStr("s3cr3t-key"),
    "s3_secret": SecretStr("s3cr3t"),
    "s3_bucket": "pictures",
}


@pytest.mark.parametrize(
    "missing",
    [{"s3_url"}, {"s3_key"}, {"s3_secret"}, {"s3_key", "s3_secret"}, {"s3_url", "s3_key", "s3_secret"}],
    ids=lambda missing: " ".join(sorted(missing)),
)
def test_a_bucket_that_is_named_only_in_part_is_refused_at_the_start_and_not_taken_for_files(missing: set[str]) -> None:
    given = {name: value for name, value in WHOLE.items() if name not in missing}
    with pytest.raises(MienError) as refusal:
        Storage(StorageSettings(**given))
    assert refusal.value.code is Code.BAD_URL
    before, _, after = refusal.value.detail.partition(" without ")
    assert all(f"MIEN_{name.upper()}" in after for name in missing)
    assert all(f"MIEN_{name.upper()}" in before for name in given)
    assert "s3cr3t" not in refusal.value.detail


def test_a_bucket_that_is_named_whole_is_used_and_none_is_files() -> None:
    assert Storage(StorageSettings(**WHOLE)).objects is not None
    assert Storage(StorageSettings()).objects is None
