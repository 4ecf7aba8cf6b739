"""The models there could be and those that are here: manifests, and the files they name."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from services.remote_sdk.models.files import ModelFile, ModelMissing
from services.remote_sdk.models.manifest import BadManifest, Manifest, read

MANIFESTS = Path(__file__).with_name("manifests")
OWN = "*/*.toml"
"""Where an operator's manifests lie in the models folder: one folder down, beside the weights."""


@dataclass(frozen=True)
class Model:
    """A model and the places of its files, by their names, whether they are there or not.

    ``described_by``: the manifest, where the operator wrote it.
    """

    manifest: Manifest
    files: dict[str, ModelFile]
    described_by: Path | None = None

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def installed(self) -> bool:
        """Whether every file is there with its size; digests are taken when a file is read."""
        return all(file.there for file in self.files.values())

    @property
    def get(self) -> str:
        """How to have it, as one line for people."""
        manifest = self.manifest
        if manifest.package:
            return f"pip install {manifest.package}"
        if all(file.url for file in manifest.files):
            return f"mien models add {manifest.name}"
        return f"mien models add {manifest.name} DIR"

    def read(self, file: str) -> bytes:
        """The checked bytes of the file of this name. Raises ModelMissing, ModelCorrupt."""
        return self.files[file].read()


class Library:
    """Every model known here by name: the project's, and the operator's own in ``folder``."""

    def __init__(self, folder: Path | None) -> None:
        """``folder``: where weights lie; it need not exist. Raises BadManifest naming the file that is wrong."""
        self.models: dict[str, Model] = {}
        for manifest in _project():
            self._put(_model(manifest, _root(manifest, folder)))
        for path in sorted(folder.glob(OWN)) if folder else ():
            manifest = read(path)
            check_own(manifest, str(path))
            self._put(_model(manifest, path.parent, path))

    def _put(self, model: Model) -> None:
        if other := self.models.get(model.name):
            places = " and in ".join(str(each.described_by) for each in (other, model) if each.described_by)
            raise BadManifest(f"two models are named {model.name}, in {places}")
        self.models[model.name] = model

    def model(self, name: str) -> Model:
        """Raises ModelMissing when no model has this name."""
        try:
            return self.models[name]
        except KeyError:
            raise ModelMissing(f"no model is named {name}") from None

    def with_only(self, name: str) -> Library:
        """The default models, which need no folder, and the one of this name. Raises ModelMissing."""
        chosen = Library(None)
        chosen.models[name] = self.model(name)
        return chosen

    def installed(self) -> Iterator[Model]:
        return (model for model in self.models.values() if model.installed)


def check_own(manifest: Manifest, source: str) -> None:
    """Raises BadManifest for what only manifests of the project may say, or leave out. ``source``: where it is from."""
    if manifest.package:
        raise BadManifest(f"{source}: manifest.package: files of your own lie beside their manifest")
    own = manifest.descriptor
    if own and (own.midpoint is None or own.slope is None):
        raise BadManifest(f"{source}: manifest.descriptor: a version of your own needs midpoint and slope")


def builtin(name: str) -> ModelFile:
    """The only file of one of the models that come as a Python package: "dlib-resnet", "dlib-mmod", "dlib-sp5".

    The file is not opened. Raises ModelMissing for another name.
    """
    files = list(Library(None).model(name).files.values())
    if len(files) != 1:
        raise ModelMissing(f"model {name} is not one file of a package")
    return files[0]


@cache
def _project() -> tuple[Manifest, ...]:
    return tuple(read(path) for path in sorted(MANIFESTS.glob("*.toml")))


def _root(manifest: Manifest, folder: Path | None) -> Path:
    """The folder that a project's manifest means: that of its package, which is never imported, or the models folder.

    The package of the default models could not be imported: its ``__init__`` needs ``pkg_resources``, which new
    setuptools no longer has.
    """
    if manifest.package is None:
        return folder or Path("(no models folder)")
    found = importlib.util.find_spec(manifest.package)
    if found is None or not found.submodule_search_locations:
        return Path(f"({manifest.package} is not installed)")
    return Path(found.submodule_search_locations[0])


def _model(manifest: Manifest, root: Path, described_by: Path | None = None) -> Model:
    model = Model(manifest, {}, described_by)
    for file in manifest.files:
        at = ModelFile(manifest.name, root / file.path, file.sha256, file.size_bytes, model.get)
        model.files[PurePosixPath(file.path).name] = at
    return model
