"""The manifest of a model: what it is, what it may be used for, and how an engine feeds it.

A TOML file. Those of the project lie in ``manifests/``; an operator's own lies beside the weights it describes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from libs.common.wire.base import fault
from services.remote_sdk.slots import SLOTS

MAX_FILE_BYTES = 2 * 1024**3
MAX_MANIFEST_BYTES = 256 * 1024

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class BadManifest(Exception):
    """A manifest that cannot be used, and why."""


def _below(path: str) -> str:
    """Refuse paths that lead out of the folder they are relative to."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or not parts.name:
        raise ValueError("has to be a path inside the models folder")
    return path


def _slot(name: str) -> str:
    if name not in SLOTS:
        raise ValueError(f"there is no slot {name}; there are {', '.join(SLOTS)}")
    return name


SlotName = Annotated[str, AfterValidator(_slot)]


class Record(BaseModel):
    """Strict and unchangeable: a misspelt key of a manifest is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class File(Record):
    """One file: its place below the models folder (an operator's own: below its manifest), size and digest.

    ``url`` is the address at which upstream publishes exactly these bytes; without it the file was converted from
    what ``converted_from`` names, and has to be added from a folder.
    """

    path: Annotated[str, AfterValidator(_below)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]
    size_bytes: Annotated[int, Field(ge=1, le=MAX_FILE_BYTES)]
    url: Annotated[str, Field(pattern=r"^https://")] | None = None
    converted_from: str | None = None


class Picture(Record):
    """An input that is a picture: pixels 0..255 become ``(x - mean) / scale``, per channel in the order of ``colour``.

    ``width`` and ``height`` in pixels; absent where the network takes any size that is a multiple of ``multiple``.
    """

    width: Annotated[int, Field(ge=1, le=4096)] | None = None
    height: Annotated[int, Field(ge=1, le=4096)] | None = None
    multiple: Annotated[int, Field(ge=1, le=256)] = 1
    colour: Literal["RGB", "BGR", "grey"] = "RGB"
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["float32", "uint8"] = "float32"

    @model_validator(mode="after")
    def _per_channel(self) -> Self:
        channels = 1 if self.colour == "grey" else 3
        for name in ("mean", "scale"):
            if len(getattr(self, name)) not in (1, channels):
                raise ValueError(f"{name} has one number, or one per channel")
        if not all(self.scale):
            raise ValueError("scale is not zero")
        if self.dtype == "uint8" and (any(self.mean) or set(self.scale) != {1.0}):
            raise ValueError("mean and scale are for float32; a uint8 network gets pixels as they are")
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height stand together")
        return self


class Numbers(Record):
    """An input that is no picture: rows of ``count`` numbers."""

    count: Annotated[int, Field(ge=1, le=4096)]
    meaning: str


def _sort_of(given: Any) -> str:
    return "numbers" if isinstance(given, Numbers) or (isinstance(given, dict) and "count" in given) else "picture"


Input = Annotated[
    Annotated[Picture, Tag("picture")] | Annotated[Numbers, Tag("numbers")],
    Discriminator(_sort_of),  # so that an error is said of one of them, not of both
]


class Network(Record):
    """One network of a model: its files (``.xml`` before ``.bin``), inputs and outputs by name."""

    files: Annotated[list[str], Field(min_length=1, max_length=2)]
    inputs: Annotated[dict[str, Input], Field(min_length=1)]
    outputs: Annotated[dict[str, str], Field(min_length=1, description="meaning by name")]

    @property
    def picture(self) -> tuple[str, Picture]:
        """Name and description of the only input of a network that looks at one picture. Raises BadManifest."""
        found = [(name, each) for name, each in self.inputs.items() if isinstance(each, Picture)]
        if len(self.inputs) != 1 or not found:
            raise BadManifest(f"a network of one picture is wanted, this one has inputs {', '.join(self.inputs)}")
        return found[0]


class DescriptorVersion(Record):
    """The version of the descriptors; for the numbers see :class:`libs.common.descriptors.Version`.

    Versions of the project keep their own ``midpoint`` and ``slope``; an operator's needs both. ``unit``: the
    network's output is divided by its length first, so that the distance is sqrt(2 - 2 cos).
    """

    version: Annotated[int, Field(ge=1, le=2**32 - 1)]
    length: Annotated[int, Field(ge=1, le=4096)]
    unit: bool = True
    midpoint: Annotated[float, Field(gt=0)] | None = None
    slope: Annotated[float, Field(gt=0)] | None = None
    source: str = "libs/common/descriptors.py"


class Check(Record):
    """Stored outputs for the known input of ``verify.py``: some values of every output, by network and output name."""

    outputs: dict[str, dict[str, list[float]]]
    tolerance: Annotated[float, Field(gt=0)] = 0.01


class Manifest(Record):
    """A model. ``slots`` are what it can fill, ``kind`` names the code that runs it (``services/remote_sdk/kinds.py``).

    Of several installed models the one with the highest ``preference`` fills a slot; below 0 it has to be named in
    MIEN_SDK_PREFER. ``options`` are numbers and lists of the kind: thresholds, calibration, names of classes.
    ``precision`` is the format the weights are stored in. ``package`` is the Python package that brings the files,
    which then lie inside it. ``needs`` are slots that have to be filled too.
    """

    name: Name
    title: str
    version: str
    kind: Name
    slots: Annotated[list[SlotName], Field(min_length=1)]
    preference: Annotated[int, Field(ge=-100, le=100)] = 0
    licence: str
    upstream: str
    training_data: str
    warnings: list[str] = []
    precision: Literal["fp32", "fp16", "int8", "none"] = "fp32"
    package: str | None = None
    needs: list[SlotName] = []
    files: list[File] = []
    networks: dict[str, Network] = {}
    options: dict[str, Any] = {}
    descriptor: DescriptorVersion | None = None
    check: Check | None = None

    @model_validator(mode="after")
    def _networks_have_their_files(self) -> Self:
        names = [PurePosixPath(file.path).name for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError("two files have one name")
        for name, network in self.networks.items():
            if lost := set(network.files) - set(names):
                raise ValueError(f"networks.{name}: no file named {', '.join(sorted(lost))}")
        return self

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def read(path: Path) -> Manifest:
    """The manifest in a TOML file. Raises BadManifest naming the file and the field."""
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BadManifest(f"{path}: a manifest may have {MAX_MANIFEST_BYTES} bytes")
        return parse(path.read_bytes(), str(path))
    except OSError as wrong:
        raise BadManifest(f"{path}: {wrong.strerror}") from wrong


def parse(content: bytes, source: str) -> Manifest:
    """The manifest in TOML's bytes that come from ``source``. Raises BadManifest naming that and the field."""
    try:
        return Manifest.model_validate(tomllib.loads(content.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
        raise BadManifest(f"{source}: {wrong}") from wrong
    except ValidationError as wrong:
        raise BadManifest(f"{source}: {fault(wrong, 'manifest')}") from wrong


@contextmanager
def runs_as_described(name: str) -> Iterator[None]:
    """Around a run of the model of this name. Raises BadManifest for whatever fails inside: shapes and names that do
    not fit end in any of numpy's and the engines' errors."""
    try:
        yield
    except BadManifest as wrong:
        raise BadManifest(f"model {name}: {wrong}") from wrong
    except Exception as wrong:
        # OpenVINO's errors begin with the places in its own sources that they passed.
        lines = [line.strip() for line in str(wrong).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(wrong).__name__
        raise BadManifest(f"model {name} does not run as its manifest says: {reason}") from wrong
