"""Sex as it appears, by dlib's classifier of small chips. Of age nothing is estimated."""

from __future__ import annotations

from libs.common.wire.estimations import BasicAttributes
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.networks.chip import face_chips
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import FaceView

PADDING = 0.2
"""Of dlib's chips where its example of the classifier names none (``get_face_chip_details``)."""


class DlibGender:
    """The output ``p`` is the probabilities of female and male."""

    on_warps = True

    def __init__(self, model: Loaded) -> None:
        self._net = model.net

    def crop(self, seen: FaceView) -> Pixels:
        side, _ = self._net.size
        return face_chips(seen.pixels, seen.corners[None], side, PADDING)[0]

    def run(self, crops: list[Pixels]) -> list[Findings]:
        shares = self._net.see(crops)["p"]
        return [{"basic_attributes": BasicAttributes(gender=int(male > female))} for female, male in shares]  # type: ignore[arg-type]
