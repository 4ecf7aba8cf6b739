"""From the settings to everything that runs on the compute threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

import torch
from torch import nn

from libs.common.errors import Code, MienError
from libs.common.settings import SdkSettings
from services.remote_sdk.catalogue import Catalogue
from services.remote_sdk.decoding.children import decoder
from services.remote_sdk.decoding.on_device import JpegsOnDevice, Uploading, check_device
from services.remote_sdk.decoding.port import Decoder
from services.remote_sdk.detectors.port import Detector
from services.remote_sdk.engines.choose import engines
from services.remote_sdk.engines.net import Loaded, load
from services.remote_sdk.engines.port import Array, Engine, EngineMissing, Where
from services.remote_sdk.estimators.descriptor import Describer
from services.remote_sdk.estimators.port import BodyEstimator, FaceEstimator
from services.remote_sdk.kinds import (
    BODY_ESTIMATORS,
    DESCRIBERS,
    DETECTORS,
    FACE_ESTIMATORS,
    MEASURES,
    THING_ESTIMATORS,
    Given,
)
from services.remote_sdk.models import versions
from services.remote_sdk.models.files import ModelCorrupt, ModelMissing
from services.remote_sdk.models.library import Library, Model
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.networks.dlib_format import FormatError
from services.remote_sdk.networks.landmarks import Landmarks, Landmarks5
from services.remote_sdk.networks.landmarks_on_device import Landmarks5OnDevice
from services.remote_sdk.networks.precision import DeviceMissing, Precision, choose
from services.remote_sdk.slots import THING_DETECTION
from services.remote_sdk.stages.decode import Limits
from services.remote_sdk.trial import try_detectors, try_faces, try_things

_FORMATS: dict[str, Literal["auto", "float32", "bfloat16"]] = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16"}

_NUMPY = Where("numpy", "cpu", "fp32")

E = TypeVar("E")

FAULTS = (
    *(ModelMissing, ModelCorrupt, BadManifest, FormatError, DeviceMissing, EngineMissing),
    *(torch.OutOfMemoryError, torch.AcceleratorError),
)
"""Why models cannot be opened. The last two: a GPU without memory left, or one that does not work."""


@dataclass(frozen=True)
class Models:
    """The open models. Describer, estimators and ``where`` each runs go by the names of their models; what finds and
    estimates other things than faces, by slots."""

    precision: Precision
    detector: Detector
    landmarks: Landmarks
    describer: tuple[str, Describer]
    estimators: Mapping[str, FaceEstimator]
    body_estimators: Mapping[str, BodyEstimator]
    thing_estimators: Mapping[str, tuple[str, BodyEstimator]]
    detectors: Mapping[str, Detector]
    where: Mapping[str, Where]


def catalogue_of(settings: SdkSettings) -> Catalogue:
    """What the models in the settings' folder fill. Raises ENGINE_FAILED when a manifest or a preference is wrong."""
    try:
        library = Library(settings.models_dir)
        versions.make_known(library)
        return Catalogue(library, settings)
    except FAULTS as fault:
        raise _refusal(fault) from fault


def open_models(settings: SdkSettings, catalogue: Catalogue, threads: int) -> Models:
    """Open the models of every slot that is filled. ``threads``: how many run them at once.

    Raises ENGINE_FAILED with the reason when a model or engine that is needed is missing or damaged, a model does not
    run as its manifest says, or the device is not there.
    """
    try:
        precision = choose(settings.device, _FORMATS[settings.precision])
        models = _Opening(settings, precision, engines(settings.engine, precision, threads)).all_of(catalogue)
        _try_out(models, catalogue)
    except FAULTS as fault:
        raise _refusal(fault) from fault
    return models


def open_decoder(settings: SdkSettings, device: torch.device, threads: int) -> Decoder:
    """What decodes pictures for networks on the device; ``threads``: how many ask it at once. On a GPU they ask for
    several pictures each, and all cores decode.

    Raises ENGINE_FAILED when the device is to decode and cannot.
    """
    by_device = settings.decode == "device"
    try:
        if by_device:
            check_device(device)
    except FAULTS as fault:
        raise _refusal(fault) from fault
    limits = Limits(settings.max_image_bytes, settings.max_image_pixels)
    processes = decoder(limits, threads if device.type == "cpu" else os.cpu_count() or threads)
    if device.type == "cpu":
        return processes
    uploading = Uploading(processes, device)
    return JpegsOnDevice(uploading, limits, device) if by_device else uploading


def _try_out(models: Models, catalogue: Catalogue) -> None:
    """Raises BadManifest for a model that does not run as its manifest says. The built-in ones have no choice."""

    def described(named: Mapping[str, E]) -> dict[str, E]:
        return {name: each for name, each in named.items() if catalogue.library.model(name).manifest.networks}

    try_faces(described({**models.estimators, models.describer[0]: models.describer[1]}))
    try_things(described({**models.body_estimators, **dict(models.thing_estimators.values())}))
    detectors = {"face_detection": models.detector, **models.detectors}
    try_detectors(described({catalogue.chosen[slot].name: detector for slot, detector in detectors.items()}))


def _refusal(fault: Exception) -> MienError:
    return MienError(Code.ENGINE_FAILED, f"remote_sdk cannot start: {fault}")


class _Opening:
    """One start: each model is opened once, however many slots it fills."""

    def __init__(self, settings: SdkSettings, precision: Precision, engines: list[Engine]) -> None:
        self._settings = settings
        self._precision = precision
        self._engines = engines
        self._where: dict[str, Where] = {}

    def all_of(self, catalogue: Catalogue) -> Models:
        detection, description = catalogue.required("face_detection"), catalogue.required("face_descriptor")
        self._where["dlib-sp5"] = replace(where(self._precision), precision="fp32") if self._on_gpu else _NUMPY
        self._where |= {model.name: _NUMPY for model in catalogue.chosen.values() if model.manifest.kind in MEASURES}
        return Models(
            precision=self._precision,
            detector=self._built(DETECTORS, detection),
            landmarks=Landmarks5OnDevice(self._precision.device) if self._on_gpu else Landmarks5(),
            describer=(description.name, self._built(DESCRIBERS, description)),
            estimators=self._estimators(FACE_ESTIMATORS, catalogue),
            body_estimators=self._estimators(BODY_ESTIMATORS, catalogue),
            thing_estimators={
                slot: (model.name, self._made(model, THING_ESTIMATORS[model.manifest.kind]))
                for slot, model in catalogue.chosen.items()
                if model.manifest.kind in THING_ESTIMATORS
            },
            detectors=self._detectors(catalogue),
            where=self._where,
        )

    def _estimators(self, kinds: Mapping[str, Callable[[Loaded], E]], catalogue: Catalogue) -> dict[str, E]:
        """Those of the kinds, by the names of their models."""
        models = {model.name: model for model in catalogue.chosen.values() if model.manifest.kind in kinds}
        return {name: self._made(model, kinds[model.manifest.kind]) for name, model in models.items()}

    def _detectors(self, catalogue: Catalogue) -> dict[str, Detector]:
        """Those of other things than faces, by slots; one that fills several slots is one object."""
        filled = {slot: catalogue.chosen[slot] for slot in THING_DETECTION if slot in catalogue.chosen}
        built = {name: self._built(DETECTORS, model) for name, model in {m.name: m for m in filled.values()}.items()}
        return {slot: built[model.name] for slot, model in filled.items()}

    def _built(self, kinds: Mapping[str, Callable[[Given], E]], model: Model) -> E:
        def build(loaded: Loaded | None) -> E:
            adopt = partial(self._adopted, model.name)
            return kinds[model.manifest.kind](Given(model, loaded, self._precision, self._settings, adopt))

        if model.manifest.networks:
            return self._made(model, build)
        self._where[model.name] = where(self._precision)
        return build(None)

    def _made(self, model: Model, build: Callable[[Loaded], E]) -> E:
        """Raises BadManifest, naming the model."""
        loaded = load(model, self._engines)
        self._where[model.name] = loaded.where
        try:
            made = build(loaded)
        except BadManifest as wrong:
            raise BadManifest(str(wrong) if model.name in str(wrong) else f"model {model.name}: {wrong}") from wrong
        loaded.check_options()
        return made

    def _adopted(self, name: str, network: nn.Module, example: Array) -> Callable[[Array], Array] | None:
        """The built-in network of a model in an engine that is faster than torch on the CPU; None: torch runs it."""
        if self._on_gpu:
            return None
        for engine in self._engines:
            if run := engine.adopt(network, example):
                self._where[name] = engine.where
                return run
        return None

    @property
    def _on_gpu(self) -> bool:
        return self._precision.device.type == "cuda"


def where(precision: Precision) -> Where:
    """Where torch runs the built-in networks."""
    device = "cuda" if precision.device.type == "cuda" else "cpu"
    return Where(f"torch {torch.__version__.split('+')[0]}", device, "bf16" if precision.is_bf16 else "fp32")
