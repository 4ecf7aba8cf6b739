"""The default model files: where they lie, what they are, and proof that they are those.

They come with the PyPI package `face_recognition_models`. The package is never imported: its `__init__` needs
`pkg_resources`, which new setuptools no longer has. Its 68-point file is left alone: the pictures it was trained on
may not be used commercially.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "face_recognition_models"
LICENCE = "CC0-1.0"
SOURCE = "https://github.com/davisking/dlib-models, from PyPI face_recognition_models 0.3.0"


class ModelMissing(Exception):
    """A model file is not on this machine."""


class ModelCorrupt(Exception):
    """A model file is there, but its bytes are not the ones its digest promises."""


@dataclass(frozen=True)
class ModelFile:
    """One file of weights. `sha256` is the digest (64 hex digits) its bytes must have."""

    name: str
    version: str
    task: str
    path: Path
    sha256: str
    licence: str
    source: str

    def read(self) -> bytes:
        """The checked bytes of the file: the digest is taken over exactly what is returned.

        Raises ModelMissing when there is no such file, ModelCorrupt when the digest differs.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError as fault:
            raise ModelMissing(f"model {self.name} is not at {self.path}: pip install {PACKAGE}") from fault
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ModelCorrupt(f"model {self.name} at {self.path} has sha256 {digest}, expected {self.sha256}")
        return content


# name -> task, file name in the package, sha256 of the file in the package's 0.3.0 source archive.
_DEFAULTS = {
    "dlib-resnet": (
        "face descriptor",
        "dlib_face_recognition_resnet_model_v1.dat",
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    ),
    "dlib-mmod": (
        "face detection",
        "mmod_human_face_detector.dat",
        "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
    ),
    "dlib-sp5": (
        "face landmarks",
        "shape_predictor_5_face_landmarks.dat",
        "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    ),
}


def locate(name: str) -> ModelFile:
    """The default model `name` ("dlib-resnet", "dlib-mmod" or "dlib-sp5"); the file is not opened.

    Raises ModelMissing when the package that carries it is not installed, KeyError for an unknown name.
    """
    task, file_name, sha256 = _DEFAULTS[name]
    package = importlib.util.find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise ModelMissing(f"model {name} needs a package that is not installed: pip install {PACKAGE}")
    path = Path(package.submodule_search_locations[0]) / "models" / file_name
    return ModelFile(name, "1", task, path, sha256, LICENCE, SOURCE)


def installed() -> list[ModelFile]:
    """The default models whose files are on this machine, in a fixed order; empty without the package."""
    if importlib.util.find_spec(PACKAGE) is None:
        return []
    return [file for file in map(locate, _DEFAULTS) if file.path.is_file()]
