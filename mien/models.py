"""``mien models``: what this installation can estimate, and the models it can do it with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from libs.common.errors import MienError
from libs.common.settings import SdkSettings
from mien import tables
from mien.terminal import NOT_STARTED, REFUSED, SOME_FAILED, USAGE, AsJson, err, fail, out, print_json, settings

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
    used = catalogue.used
    rows = [
        {
            **model.manifest.model_dump(include={"name", "title", "version", "slots", "licence", "upstream"}),
            "warnings": [*model.manifest.warnings, f"training data: {model.manifest.training_data}"],
            "size_bytes": model.manifest.size_bytes,
            "installed": model.installed,
            "used": model.name in used,
            "state": "in use" if model.name in used else catalogue.unusable(model) or "installed",
        }
        for model in catalogue.library.models.values()
    ]
    if as_json:
        print_json(rows)
    else:
        out.print(tables.models(rows))
        out.print(f"models folder: {sdk.models_dir} (MIEN_MODELS_DIR)", highlight=False, soft_wrap=True)


@group.command()
def add(
    what: Annotated[str, typer.Argument(metavar="NAME|URL|DIR", help="A model of the list, or one of your own.")],
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Where its files lie; else upstream.")] = None,
) -> None:
    """Add a model to the models folder: from upstream, or for a site without the web from a folder.

    A DIR alone is your own model (a manifest.toml and its files), or a folder of which every known model is added. A
    URL is that of your manifest. Nothing is kept whose sha256 is not the manifest's.
    """
    from services.remote_sdk.models import install
    from services.remote_sdk.models.library import Library

    models = settings().sdk.models_dir

    def work() -> list[str]:
        if what.startswith(("https://", "http://")):
            return [_downloading(lambda progress, session: install.own_from_url(what, models, progress, session))]
        library = Library(models)
        if what in library.models:
            model = library.models[what]
            if folder:
                install.from_folder(model, folder)
            else:
                _downloading(lambda progress, session: install.from_upstream(model, progress, session))
            return [what]
        if not Path(what).is_dir():
            fail(f"{what} is no model of the list (mien models list), no folder and no https address", USAGE)
        if list(Path(what).glob("*.toml")):
            return [install.own_from_folder(Path(what), models)]
        return install.all_from_folder(library, Path(what))

    for name in _guarded(work):
        out.print(f"{name} is in {models}", highlight=False, soft_wrap=True)


@group.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Delete a model's files from the models folder."""
    from services.remote_sdk.models import install
    from services.remote_sdk.models.library import Library

    def work() -> None:
        library = Library(settings().sdk.models_dir)
        install.remove(library.model(name), library)

    _guarded(work)
    out.print(f"{name} is removed", highlight=False)


@group.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Default: all installed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the files of models, run a known picture through them, and compare with what the manifest stores."""
    from services.remote_sdk.loading import FAULTS
    from services.remote_sdk.models.library import Library
    from services.remote_sdk.models.verify import verify as run

    sdk = settings().sdk
    library = _guarded(lambda: Library(sdk.models_dir))
    chosen = [_guarded(lambda name=name: library.model(name)) for name in names or ()] or list(library.installed())

    def tried(model: Model) -> dict[str, Any]:
        try:
            verdict = run(model, sdk.engine)
        except FAULTS as wrong:
            return {"name": model.name, "good": False, "said": str(wrong), "measured": {}}
        said = f"off by {verdict.worst:.2g}, {verdict.tolerance:g} is allowed"
        if verdict.expected is None:
            said = "files intact; the manifest stores nothing to compare with"
        return {"name": model.name, "good": verdict.good, "said": said, "measured": verdict.measured}

    rows = [tried(model) for model in chosen]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            out.print(
                f"{row['name']}: {'good' if row['good'] else 'BAD'}, {row['said']}", highlight=False, soft_wrap=True
            )
    raise typer.Exit(SOME_FAILED if any(not row["good"] for row in rows) else 0)


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
