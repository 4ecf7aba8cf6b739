"""Sex as it appears, by dlib's classifier of small chips. Of age nothing is estimated."""

from __future__ import annotations

from libs.common.wire.estimations import BasicAttributes
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.networks.frames import in_memory
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import FaceView

_EDGE = 5
"""Pixels of the chip of 150, padded by 0.25, outside one padded by 0.2, by which dlib's example cuts
(``get_face_chip_details``)."""


class DlibGender:
    """The output ``p`` is the probabilities of female and male."""

    on_warps = True

    def __init__(self, model: Loaded) -> None:
        self._net = model.net

    def crop(self, seen: FaceView) -> Pixels:
        return in_memory(seen.chip)[_EDGE:-_EDGE, _EDGE:-_EDGE].copy()

    def run(self, crops: list[Pixels]) -> list[Findings]:
        return [_sex(male > female) for female, male in self._net.see(crops)["p"]]


def _sex(male: bool) -> Findings:
    return {"basic_attributes": BasicAttributes(gender=1 if male else 0)}
