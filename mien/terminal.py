"""What every command shares: where it prints, how it fails, and its exit codes."""

from __future__ import annotations

import sys
from typing import Annotated, Any, NoReturn

import orjson
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from libs.common.settings import Settings, wrong_variables

SOME_FAILED, USAGE, REFUSED, UNREACHABLE, NOT_STARTED = 1, 2, 3, 4, 5
"""Exit codes; 0 is success."""

out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables.")]


def settings() -> Settings:
    """The settings, or one clear line that names the wrong one."""
    try:
        return Settings()
    except ValidationError as wrong:
        fail(f"settings: {wrong_variables(wrong)}", USAGE)


def print_json(content: Any) -> None:
    sys.stdout.write(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode() + "\n")


def fail(reason: str, code: int) -> NoReturn:
    say(reason)
    raise typer.Exit(code)


def say(text: str) -> None:
    err.print(f"[red]mien:[/red] {escape(text)}", highlight=False, soft_wrap=True)
