"""Faces as YuNet finds them, and what estimators of the shared models find of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from libs.common.wire.sdk import Image, SdkParams
from services.remote_sdk.decoding.port import Inside
from services.remote_sdk.detectors.yunet import YuNet
from services.remote_sdk.estimators.descriptor import ArcFace
from services.remote_sdk.estimators.port import Findings, Informed
from services.remote_sdk.kinds import FACE_ESTIMATORS
from services.remote_sdk.networks.landmarks import Landmarks5
from services.remote_sdk.stages.chain import Chain, Face, Job
from services.remote_sdk.stages.decode import Limits
from tests.unit.remote_sdk.models import opened

LIMITS = Limits(50_000_000, 50_000_000)


@cache
def estimator(name: str) -> Any:
    model = opened(name)
    return FACE_ESTIMATORS[model.manifest.kind](model)


@cache
def landmarks() -> Landmarks5:
    return Landmarks5()


def look(data: bytes, *models: str, params: SdkParams | None = None) -> list[Face]:
    """The faces that YuNet finds, cropped for the models."""
    croppers = {name: estimator(name).crop for name in models}
    croppers["mobilefacenet"] = ArcFace(opened("mobilefacenet")).crop
    chain = Chain(YuNet(opened("yunet")), landmarks(), Inside(LIMITS), croppers)
    wanted = models or ("mobilefacenet",)
    [seen] = chain.run([Job(Image(filename="a", data=data), params or SdkParams(), wanted)])
    assert not isinstance(seen, Exception)
    return seen.faces


def estimated(data: bytes, name: str, *needs: str) -> list[Findings]:
    """What a model finds of every face, and what the models find that it needs."""
    return findings_of(look(data, name, *needs), *needs, name)


def findings_of(faces: list[Face], *models: str) -> list[Findings]:
    """What models find, one after the other, of faces that were cropped for them."""
    found: list[Findings] = [dict(face.findings) for face in faces]
    for name in models if faces else ():
        crops, one = [face.crops[name] for face in faces], estimator(name)
        if isinstance(one, Informed):
            crops = [one.informed(crop, known) for crop, known in zip(crops, found, strict=True)]
        for known, its in zip(found, estimator(name).run(crops), strict=True):
            known.update(its)
    return found
