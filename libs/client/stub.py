"""Writes blocking.pyi, the types of the blocking client, from the asynchronous ones: ``python -m libs.client.stub``."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
STUB = HERE / "blocking.pyi"
HEADER = "# Written by `python -m libs.client.stub`; do not edit.\n# ruff: noqa\n"
PARTS = ("handlers", "events", "faces", "attributes", "lists", "matcher", "images")
RENAMED = {
    "async def ": "def ",
    "AsyncGenerator[Notice, None]": "Generator[Notice, None, None]",
    "AsyncGenerator": "Generator",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "class MienClient": "class BlockingMienClient",
}


def render() -> str:
    """The text of the stub: the same classes and signatures, without ``async`` and without bodies."""
    nodes = [node for name in (*PARTS, "client") for node in ast.parse((HERE / f"{name}.py").read_text()).body]
    aliases = (ast.unparse(node) for node in nodes if isinstance(node, ast.Assign))
    classes = (ast.unparse(_bodiless(node)) for node in nodes if isinstance(node, ast.ClassDef))
    text = "\n".join([*_imports(nodes), *aliases, *classes])
    for old, new in RENAMED.items():
        text = text.replace(old, new)
    return f"{HEADER}{text}\n"


def _imports(nodes: Iterable[ast.stmt]) -> list[str]:
    """Every import but those of the parts, which the stub holds itself, once."""
    own = {f"libs.client.{name}" for name in PARTS}
    names: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module not in own:
            names.setdefault(node.module, set()).update(alias.name for alias in node.names)
    return [f"from {module} import {', '.join(sorted(imported))}" for module, imported in names.items()]


def _bodiless(part: ast.ClassDef) -> ast.ClassDef:
    methods = [node for node in part.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for method in methods:
        method.body = [ast.Expr(ast.Constant(...))]
    fields = [ast.parse(f"{name}: {name.capitalize()}").body[0] for name in PARTS if part.name == "MienClient"]
    part.body = [*fields, *(method for method in methods if not _is_private(method.name))]
    return part


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


if __name__ == "__main__":
    STUB.write_text(render())
