"""``mien models``: what this installation can estimate, and the models it can do it with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from libs.common.errors import MienError
from libs.common.settings import SdkSettings
from mien import tables
from mien.terminal import NOT_STARTED, REFUSED, SOME_FAILED, USAGE, AsJson, err, fail, out, print_json, say, settings

if TYPE_CHECKING:
    from services.remote_sdk.models.library import Model

# Imported inside the commands: the models' code loads torch, which takes a second that no other command should wait.

group = typer.Typer(help="Show, add, remove and verify models.", add_completion=False, invoke_without_command=True)


@group.callback()
def slots(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what this installation can estimate, and with which models under which licences."""
    if context.invoked_subcommand:
        return
    estimators = list(_catalogue(settings().sdk).estimators().values())
    if as_json:
        print_json([estimator.model_dump() for estimator in estimators])
    else:
        out.print(tables.slots(estimators))


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show every model of the catalogue: installed or not, its slots, licence and what to know before using it."""
    sdk = settings().sdk
    catalogue = _catalogue(sdk)
    rows = [
        {
            **model.manifest.model_dump(include={"name", "title", "version", "slots", "licence", "upstream"}),
            "warnings": [*model.manifest.warnings, f"training data: {model.manifest.training_data}"],
            "size_bytes": model.manifest.size_bytes,
            "installed": model.installed,
            "used": model.name in catalogue.used,
            "state": catalogue.state(model),
        }
        for model in catalogue.library.models.values()
    ]
    if as_json:
        print_json(rows)
    else:
        out.print(tables.models(rows))
        there = "" if sdk.models_dir.is_dir() else ", which is not there"
        out.print(f"models folder: {sdk.models_dir} (MIEN_MODELS_DIR){there}", highlight=False, soft_wrap=True)


@group.command()
def add(
    what: Annotated[str, typer.Argument(metavar="NAME|URL|DIR", help="A model of the list, or one of your own.")],
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Where its files lie; else upstream.")] = None,
) -> None:
    """Add a model to the models folder: from upstream, or for a site without the web from a folder.

    A DIR alone is your own model (a manifest.toml and its files), or a folder of which every model is added. A URL is
    that of your manifest. Nothing is kept whose sha256 is not the manifest's, and a model of your own only if it runs.
    """
    from mien.adding import additions

    sdk = settings().sdk
    before = _fillings()
    wanted = _guarded(lambda: additions(what, folder, sdk, _downloading))
    if not wanted:
        fail(f"{what} is no model of the list (mien models list), no address, and no folder with models", USAGE)
    added = []
    for addition in wanted:
        with suppress(typer.Exit):
            added.append(_guarded(addition))
            out.print(f"{added[-1]} is in {sdk.models_dir}", highlight=False, soft_wrap=True)
    if added:
        _tell_changes(before, added)
    if len(added) < len(wanted):
        raise typer.Exit(SOME_FAILED if added else REFUSED)


@group.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Delete a model's files from the models folder."""
    from services.remote_sdk.models import install
    from services.remote_sdk.models.library import Library

    def work() -> None:
        library = Library(settings().sdk.models_dir)
        install.remove(library.model(name), library)

    before = _fillings()
    _guarded(work)
    out.print(f"{name} is removed", highlight=False)
    _tell_changes(before)


@group.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Default: all installed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the files of models, run a known picture through them, and compare with what the manifest stores."""
    from services.remote_sdk.models.library import Library

    library = _guarded(lambda: Library(settings().sdk.models_dir))
    chosen = [_guarded(partial(library.model, name)) for name in names or ()] or list(library.installed())
    rows = [_verified(model) for model in chosen]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            verdict = {True: "good", False: "BAD", None: "not run"}[row["good"]]
            out.print(f"{row['name']}: {verdict}, {row['said']}", highlight=False, soft_wrap=True)
    raise typer.Exit(SOME_FAILED if any(row["good"] is False for row in rows) else 0)


def _verified(model: Model) -> dict[str, Any]:
    """What was found out about a model; ``good`` is null where its files are intact and nothing here runs it."""
    from services.remote_sdk.engines.port import EngineMissing
    from services.remote_sdk.kinds import RUNNABLE
    from services.remote_sdk.loading import FAULTS
    from services.remote_sdk.models.verify import verify as run

    row: dict[str, Any] = {"name": model.name, "good": None, "measured": {}}
    try:
        verdict = run(model, settings().sdk.engine)
    except EngineMissing as lacking:
        return {**row, "said": f"files intact; {lacking}"}
    except FAULTS as wrong:
        return {**row, "good": False, "said": str(wrong)}
    if model.manifest.kind not in RUNNABLE:
        return {**row, "said": f"files intact; this release does not run kind {model.manifest.kind}"}
    said = f"off by {verdict.worst:.2g}, {verdict.tolerance:g} is allowed"
    if verdict.expected is None:
        said = "files intact; the manifest stores nothing to compare with"
    return {**row, "good": verdict.good, "said": said, "measured": verdict.measured}


def _fillings() -> dict[str, str]:
    """The model of every slot from the next start on; nothing where there would be none."""
    from services.remote_sdk.loading import catalogue_of

    try:
        return {slot: model.name for slot, model in catalogue_of(settings().sdk).chosen.items()}
    except MienError:
        return {}


def _tell_changes(before: dict[str, str], added: Sequence[str] = ()) -> None:
    """Say which slots are filled otherwise from the next start on, and why what was added may fill none."""
    from services.remote_sdk.loading import catalogue_of

    try:
        catalogue = catalogue_of(settings().sdk)
    except MienError as refusal:
        say(f"nothing starts with that: {refusal.detail}")
        return
    after = {slot: model.name for slot, model in catalogue.chosen.items()}
    if changed := [slot for slot in {**before, **after} if before.get(slot) != after.get(slot)]:
        fillings = ", ".join(f"{slot} by {after.get(slot, 'no model')}" for slot in changed)
        out.print(f"from the next start on: {fillings}", highlight=False, soft_wrap=True)
    for name in added:
        if name not in catalogue.used:
            state = catalogue.state(catalogue.library.model(name))
            reason = "used where MIEN_SDK_PREFER names it" if state == "installed" else state
            out.print(f"{name}: {reason}", highlight=False, soft_wrap=True)


def _catalogue(sdk: SdkSettings) -> Any:
    from services.remote_sdk.loading import catalogue_of

    try:
        return catalogue_of(sdk)
    except MienError as wrong:
        fail(wrong.detail, NOT_STARTED)


def _guarded(work: Callable[[], Any]) -> Any:
    """What ``work`` gives; every failure ends as one clear line and an exit code."""
    from services.remote_sdk.loading import FAULTS
    from services.remote_sdk.models.install import NotAdded

    try:
        return work()
    except (*FAULTS, NotAdded) as refused:
        fail(str(refused), REFUSED)
    except MienError as refused:
        fail(refused.detail, REFUSED)
    except OSError as failure:
        fail(str(failure), USAGE)


def _downloading(work: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
    """Run a download with a bar per file on terminals."""
    from services.remote_sdk.models import install

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bars: dict[str, Any] = {}

    async def run() -> Any:
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:

            def step(name: str, done: int, total: int) -> None:
                if name not in bars:
                    bars[name] = progress.add_task(name, total=total)
                progress.update(bars[name], completed=done)

            async with install.session() as session:
                return await work(step, session)

    return asyncio.run(run())
