"""The examples of docs/client.md run as they are written, in their order."""

import os
import re
import subprocess
import sys
from pathlib import Path

from libs.common.ids import new_id
from tests import photos
from tests.running import ROOT, RunningSuite


def test_the_examples_of_the_client_page_run(suite: RunningSuite, tmp_path: Path) -> None:
    (tmp_path / "ada.jpg").write_bytes(photos.astronaut_jpeg())
    (tmp_path / "gate.jpg").write_bytes(photos.astronaut_jpeg())
    page, account = (ROOT / "docs" / "client.md").read_text(), new_id()
    said = []
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        code = example.replace("http://127.0.0.1:5000", suite.url)
        code = code.replace("7c4e1b52-6d0f-4a0e-9d25-0d8f0c7a9b11", account)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{example}\n{done.stderr}"
        said.append(done.stdout)
    recognised, waiting, failing = said
    assert re.fullmatch(r"Ada (1\.0|0\.99\d+)\n1 events today\n", recognised)
    assert waiting.startswith("gate.jpg 1\nada.jpg 1\ngate.jpg [{'face': {")
    assert failing.startswith("404 22002 Face not found face 00000000-0000-4000-8000-000000000000")
