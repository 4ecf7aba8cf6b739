"""Putting models into the models folder and taking them out. Nothing unchecked ever lies there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

import aiohttp

from services.remote_sdk.models.files import ModelFile, ModelMissing, check
from services.remote_sdk.models.library import OWN, Library, Model, check_own
from services.remote_sdk.models.manifest import MAX_MANIFEST_BYTES, BadManifest, File, Manifest, parse, read

SCHEME = "https"
TOTAL_S, SILENT_S = 3600, 60
_CHUNK_BYTES = 256 * 1024

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes of it that are there, and those it has."""


class NotAdded(Exception):
    """A model that could not be put into the models folder, or taken out of it, and why."""


def from_folder(model: Model, folder: Path) -> None:
    """Copy a model's files out of a folder, where they lie as in the models folder, or directly. May be repeated:
    what is there and intact stays.

    Raises NotAdded for a model that comes as a package or where nothing can be written, ModelMissing naming the file
    that is not there, ModelCorrupt.
    """
    _check_addable(model)
    for file, described in zip(model.files.values(), model.manifest.files, strict=True):
        if not file.intact:
            _write(file.path, _in_folder(file, folder, described.path).read())


def known_in(folder: Path, library: Library) -> list[Model]:
    """The models of the project of which a folder has all files, as they lie in the models folder, or directly."""
    addable = [model for model in library.models.values() if model.files and not model.manifest.package]
    return [
        model
        for model in addable
        if not model.described_by and all(_place(folder, file.path) for file in model.manifest.files)
    ]


def own_in(folder: Path) -> list[Path]:
    """The folders with an operator's manifest: this one, or those that it has."""
    return [folder] if list(folder.glob("*.toml")) else sorted({path.parent for path in folder.glob(OWN)})


def own_from_folder(folder: Path, models: Path) -> str:
    """Copy an operator's model: a folder with one manifest (``*.toml``) and the files it names. Gives its name. May be
    repeated.

    Raises BadManifest, NotAdded when there is another model of that name, ModelMissing, ModelCorrupt.
    """
    manifests = sorted(folder.glob("*.toml"))
    if len(manifests) != 1:
        raise BadManifest(f"{folder} has {len(manifests)} manifests (*.toml), one is expected")
    manifest = read(manifests[0])
    check_own(manifest, str(manifests[0]))
    home = _home(manifest, models)
    for file in manifest.files:
        _write(home / file.path, _promised(manifest, file, folder, f"put it into {folder}").read())
    _write(home / "manifest.toml", manifests[0].read_bytes())
    return manifest.name


async def from_upstream(model: Model, progress: Progress, session: aiohttp.ClientSession) -> None:
    """Fetch a model's files from the addresses in its manifest. May be repeated.

    Raises NotAdded when it has no such addresses or they do not answer well, ModelCorrupt when the bytes are others.
    """
    _check_addable(model)
    if lost := next((file for file in model.manifest.files if file.url is None), None):
        raise NotAdded(
            f"{lost.path} is published nowhere as it is (it was made from {lost.converted_from or 'other files'}); "
            f"add it from a folder that has it: {model.get}"
        )
    for file, described in zip(model.files.values(), model.manifest.files, strict=True):
        if not file.intact:
            content = await _fetched(str(described.url), file.size_bytes, progress, session)
            check(content, file)
            _write(file.path, content)


async def own_from_url(url: str, models: Path, progress: Progress, session: aiohttp.ClientSession) -> str:
    """Fetch a manifest, and the files from the addresses it names. Gives the model's name. May be repeated. Raises as
    the others."""
    content = await _fetched(url, MAX_MANIFEST_BYTES, progress, session)
    manifest = parse(content, url)
    check_own(manifest, url)
    home = _home(manifest, models)
    for file in manifest.files:
        if file.url is None:
            raise NotAdded(f"{url}: {file.path} has no url")
        weights = await _fetched(file.url, file.size_bytes, progress, session)
        check(weights, _promised(manifest, file, home, ""))
        _write(home / file.path, weights)
    _write(home / "manifest.toml", content)
    return manifest.name


def remove(model: Model, library: Library) -> None:
    """Delete a model's files, an operator's own with its manifest, and folders that are empty then. May be repeated.

    A file that another installed model has too stays. Raises NotAdded for a model that comes as a package, and where
    nothing can be deleted.
    """
    _check_addable(model)
    shared = {file.path for other in library.installed() if other.name != model.name for file in other.files.values()}
    try:
        if model.described_by:
            model.described_by.unlink(missing_ok=True)
        for file in model.files.values():
            if file.path not in shared:
                file.path.unlink(missing_ok=True)
    except OSError as failure:
        raise NotAdded(f"{failure.filename} cannot be deleted: {failure.strerror}") from failure
    for file, described in zip(model.files.values(), model.manifest.files, strict=True):
        below = len(PurePosixPath(described.path).parts) - (0 if model.described_by else 1)
        for folder in list(file.path.parents)[:below]:
            with suppress(OSError):  # it has other files, or is gone
                folder.rmdir()


def session() -> aiohttp.ClientSession:
    """For downloads: proxies of the environment are used, answers are not unpacked."""
    timeout = aiohttp.ClientTimeout(total=TOTAL_S, sock_read=SILENT_S, sock_connect=SILENT_S)
    return aiohttp.ClientSession(timeout=timeout, trust_env=True, auto_decompress=False, headers={"User-Agent": "mien"})


def _check_addable(model: Model) -> None:
    if model.manifest.package:
        raise NotAdded(f"{model.name} comes with the Python package {model.manifest.package}, which pip handles")
    if not model.files:
        raise NotAdded(f"{model.name} is a part of Mien and has no files")


def _home(manifest: Manifest, models: Path) -> Path:
    """The folder of an operator's model: where it lies, or is to lie. Raises NotAdded when that would change another
    model."""
    library = Library(models)
    if known := library.models.get(manifest.name):
        if known.described_by and known.manifest == manifest:
            return known.described_by.parent
        raise NotAdded(
            f"there is a model named {manifest.name} already, version {known.manifest.version}, with another manifest: "
            + (f"mien models remove {known.name} first" if known.described_by else "choose another name")
        )
    home = models / manifest.name
    owners = {file.path: model.name for model in library.models.values() for file in model.files.values()}
    for file in manifest.files:
        if owner := owners.get(home / file.path):
            raise NotAdded(f"{home / file.path} is a file of model {owner}: choose another name than {manifest.name}")
    return home


def _promised(manifest: Manifest, file: File, folder: Path, get: str) -> ModelFile:
    return ModelFile(manifest.name, folder / file.path, file.sha256, file.size_bytes, get)


def _in_folder(file: ModelFile, folder: Path, path: str) -> ModelFile:
    if place := _place(folder, path):
        return ModelFile(file.model, place, file.sha256, file.size_bytes, "")
    raise ModelMissing(f"model {file.model}: {folder} has neither {path} nor {PurePosixPath(path).name}")


def _place(folder: Path, path: str) -> Path | None:
    places = (folder / path, folder / PurePosixPath(path).name)
    return next((place for place in places if place.is_file()), None)


async def _fetched(url: str, size_bytes: int, progress: Progress, session: aiohttp.ClientSession) -> bytes:
    """The body behind an https address, at most ``size_bytes``. Raises NotAdded."""
    name, content = PurePosixPath(url).name, bytearray()
    if not url.startswith(f"{SCHEME}://"):
        raise NotAdded(f"{url}: only addresses with {SCHEME}:// are fetched")
    try:
        async with session.get(url, headers={"Accept-Encoding": "identity"}) as answer:
            if answer.status != 200 or answer.url.scheme != SCHEME:
                raise NotAdded(f"{url}: answered {answer.status} ({answer.url.scheme})")
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                content += chunk
                if len(content) > size_bytes:
                    raise NotAdded(f"{url}: over {size_bytes} bytes")
                progress(name, len(content), size_bytes)
    except (aiohttp.ClientError, TimeoutError, OSError) as failure:
        reason = str(failure) or type(failure).__name__
        raise NotAdded(
            f"{url}: {reason}; without the web: mien models add NAME DIR (one of your own: mien models add DIR)"
        ) from failure
    return bytes(content)


def _write(path: Path, content: bytes) -> None:
    """All of it under its name, or nothing. Raises NotAdded where it cannot be written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".adding-")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as failure:
        raise NotAdded(f"{path} ({len(content)} bytes) cannot be written: {failure.strerror}") from failure
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
