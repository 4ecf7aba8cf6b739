"""Age and sex as they appear. Of ethnicity nothing is estimated."""

from __future__ import annotations

from libs.common.wire.estimations import BasicAttributes
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.light import well_lit
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import FaceView

OLDEST = 120


class AgeAndSex:
    """Options of the manifest: ``age`` and ``sex``: names of the outputs, ``years``: what the age is multiplied by,
    ``male``: the place of "male" in the probabilities of ``sex``, ``grown`` and ``square``: the crop."""

    on_warps = True

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._age, self._sex = model.option("age", "age"), model.option("sex", "gender")
        self._years = model.option("years", 1.0)
        self._male = model.option("male", 0)
        self._grown = model.option("grown", 1.0)
        self._square = model.option("square", True)

    def crop(self, seen: FaceView) -> Pixels:
        box = seen.box.grown(self._grown)
        return well_lit(seen.cut(box.squared() if self._square else box, self._net.size).pixels)

    def run(self, crops: list[Pixels]) -> list[Findings]:
        outputs = self._net.see(crops)
        ages, sexes = outputs[self._age].reshape(len(crops)), outputs[self._sex].reshape(len(crops), 2)
        return [{"basic_attributes": self._attributes(age, sex)} for age, sex in zip(ages, sexes, strict=True)]

    def _attributes(self, age: float, sex: Array) -> BasicAttributes:
        years = round(min(max(float(age) * self._years, 0), OLDEST))
        return BasicAttributes(age=years, gender=int(sex[self._male] > sex[1 - self._male]))  # type: ignore[arg-type]
