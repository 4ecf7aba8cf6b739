"""The reference pages say what the code does."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = runpy.run_path(str(DOCS / "tables.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_the_one_the_code_would_write(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run: python docs/tables.py"
