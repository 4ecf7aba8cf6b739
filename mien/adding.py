"""What ``mien models add`` adds. Loads torch, which takes a second: to be imported by the command only."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from libs.common.errors import MienError
from libs.common.settings import SdkSettings
from services.remote_sdk.catalogue import Catalogue, check_claims
from services.remote_sdk.loading import FAULTS, open_models
from services.remote_sdk.models import install
from services.remote_sdk.models.files import ModelMissing
from services.remote_sdk.models.library import Library, Model
from services.remote_sdk.models.versions import make_known, preferring

Addition = Callable[[], str]
"""Adds one model and gives its name. Raises as ``models/install.py``; MienError where nothing would start with it."""

Download = Callable[[Callable[..., Coroutine[Any, Any, Any]]], Any]
"""Runs a download of the install module with a progress and a session."""


def additions(what: str, folder: Path | None, sdk: SdkSettings, download: Download) -> list[Addition]:
    """What adds each of the models that are meant: by a name of the list, the address of a manifest, or a folder. Empty
    where nothing is. Raises BadManifest for the manifests that are there already."""
    if "://" in what:
        return [partial(_own, partial(download, partial(install.own_from_url, what, sdk.models_dir)), sdk)]
    library = Library(sdk.models_dir)
    if what in library.models:
        model = library.models[what]
        return [partial(_from_folder, model, folder) if folder else partial(_from_upstream, model, download)]
    source = Path(what)
    own = [partial(install.own_from_folder, each, sdk.models_dir) for each in install.own_in(source)]
    known = [partial(_from_folder, model, source) for model in install.known_in(source, library)]
    return [*(partial(_own, each, sdk) for each in own), *known]


def _from_folder(model: Model, folder: Path) -> str:
    install.from_folder(model, folder)
    return model.name


def _from_upstream(model: Model, download: Download) -> str:
    download(partial(install.from_upstream, model))
    return model.name


def _own(put: Callable[[], str], sdk: SdkSettings) -> str:
    """Add an operator's model. It is tried before it stays: one whose manifest is wrong would let nothing start."""
    there = set(Library(sdk.models_dir).models)
    name = put()
    library = Library(sdk.models_dir)
    try:
        _try(library.model(name), library, sdk)
    except (MienError, *FAULTS):
        if name not in there:
            install.remove(library.model(name), library)
        raise
    return name


def _try(model: Model, library: Library, sdk: SdkSettings) -> None:
    """Start as if there were this model alone beside the default ones. Raises BadManifest, MienError ENGINE_FAILED."""
    check_claims(library)
    make_known(library)
    alone = preferring(model, sdk)
    try:
        catalogue = Catalogue(library.with_only(model.name), alone)
    except ModelMissing:
        return  # it needs what is not here: the list says so, and it may come
    open_models(alone, catalogue, threads=1)
