"""Putting models into the models folder and taking them out. Nothing unchecked ever lies there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import aiohttp

from services.remote_sdk.models.files import ModelFile, ModelMissing, check
from services.remote_sdk.models.library import Library, Model
from services.remote_sdk.models.manifest import MAX_MANIFEST_BYTES, BadManifest, Manifest, read

SCHEME = "https"
TOTAL_S, SILENT_S = 3600, 60
_CHUNK_BYTES = 256 * 1024

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes of it that are there, and those it has."""


class NotAdded(Exception):
    """A model that could not be put into the models folder, and why."""


def from_folder(model: Model, folder: Path) -> None:
    """Copy a model's files out of a folder, where they lie as in the models folder, or directly. May be repeated:
    what is there and intact stays.

    Raises NotAdded for a model that comes as a package, ModelMissing naming the file that is not there, ModelCorrupt.
    """
    _check_addable(model)
    for file, described in zip(model.files.values(), model.manifest.files, strict=True):
        if not file.intact:
            _write(file.path, _in_folder(file, folder, described.path).read())


def all_from_folder(library: Library, folder: Path) -> list[str]:
    """Copy every model of the library of which a folder has all files. Gives their names.

    Raises ModelMissing when there is none, ModelCorrupt when a file of the right name has other bytes.
    """
    found = []
    for model in library.models.values():
        if model.manifest.package or not model.files:
            continue
        if all((folder / file.path).is_file() for file in model.manifest.files):
            from_folder(model, folder)
            found.append(model.name)
    if not found:
        raise ModelMissing(f"{folder} has all files of no model that is known, and no manifest (*.toml)")
    return found


def own_from_folder(folder: Path, models: Path) -> str:
    """Copy an operator's model: a folder with one manifest (``*.toml``) and the files it names. Gives its name.

    Raises BadManifest, NotAdded when there is a model of that name already, ModelMissing, ModelCorrupt.
    """
    manifests = sorted(folder.glob("*.toml"))
    if len(manifests) != 1:
        raise BadManifest(f"{folder} has {len(manifests)} manifests (*.toml), one is expected")
    manifest = _new(read(manifests[0]), models)
    for file in manifest.files:
        from_file = ModelFile(manifest.name, folder / file.path, file.sha256, file.size_bytes, f"put it into {folder}")
        _write(models / manifest.name / file.path, from_file.read())
    _write(models / manifest.name / "manifest.toml", manifests[0].read_bytes())
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
    """Fetch a manifest, and the files from the addresses it names. Gives the model's name. Raises as the others."""
    content = await _fetched(url, MAX_MANIFEST_BYTES, progress, session)
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder) / "manifest.toml"
        at.write_bytes(content)
        manifest = _new(read(at), models)
    for file in manifest.files:
        if file.url is None:
            raise NotAdded(f"{url}: {file.path} has no url")
        target = models / manifest.name / file.path
        weights = await _fetched(file.url, file.size_bytes, progress, session)
        check(weights, ModelFile(manifest.name, target, file.sha256, file.size_bytes, ""))
        _write(target, weights)
    _write(models / manifest.name / "manifest.toml", content)
    return manifest.name


def remove(model: Model, library: Library) -> None:
    """Delete a model's files, an operator's own with its manifest, and folders that are empty then.

    A file that another installed model has too stays. Raises NotAdded for a model that comes as a package.
    """
    _check_addable(model)
    shared = {file.path for other in library.installed() if other.name != model.name for file in other.files.values()}
    paths = [file.path for file in model.files.values() if file.path not in shared]
    for path in [*paths, *([model.described_by] if model.described_by else [])]:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        if folder.is_dir() and not any(folder.iterdir()):
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


def _new(manifest: Manifest, models: Path) -> Manifest:
    if manifest.name in Library(models).models:
        raise NotAdded(f"there is a model named {manifest.name} already")
    return manifest


def _in_folder(file: ModelFile, folder: Path, path: str) -> ModelFile:
    for place in (folder / path, folder / PurePosixPath(path).name):
        if place.is_file():
            return ModelFile(file.model, place, file.sha256, file.size_bytes, "")
    raise ModelMissing(f"model {file.model}: {folder} has neither {path} nor {PurePosixPath(path).name}")


async def _fetched(url: str, size_bytes: int, progress: Progress, session: aiohttp.ClientSession) -> bytes:
    """The body behind an https address, at most ``size_bytes``. Raises NotAdded."""
    name, content = PurePosixPath(url).name, bytearray()
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
        raise NotAdded(f"{url}: {reason}; without the web: mien models add NAME DIR") from failure
    return bytes(content)


def _write(path: Path, content: bytes) -> None:
    """All of it under its name, or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".adding-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
