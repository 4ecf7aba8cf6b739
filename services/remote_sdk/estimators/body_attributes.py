"""How a body is dressed, by Open Model Zoo's network 0230. Of its eight answers some are weak: see the manifest."""

from __future__ import annotations

from typing import Literal, NamedTuple

from libs.common.wire.estimations import (
    Accessories,
    Backpack,
    BodyBasicAttributes,
    Colors,
    Headwear,
    LowerBody,
    LowerGarment,
    Shoes,
    Sleeve,
    UpperBody,
)
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.engines.port import Array
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.colours import UNDEFINED, colours
from services.remote_sdk.stages.crops import Box, Pixels
from services.remote_sdk.stages.view import BodyView

_PROPORTION = 2.0
"""Height of a body in widths, as the network was taught: a body that is cut off is shown with nothing below."""


class Dressed(NamedTuple):
    """``shown``: the part of the crop, from its top, that shows the body; ``whole``: whether legs can be seen."""

    pixels: Pixels
    shown: float
    whole: bool


class BodyAttributesOmz:
    """Options of the manifest: ``doubt``: [low, high], probabilities between which an answer is undefined;
    ``backpack_doubt``: the same of backpacks; ``sleeves``: from which on sleeves are long; ``whole``: height in widths
    from which a box shows legs; ``patch``: side of the square whose colour is told, in widths of the crop.

    Age, shoes and the colour of headwear are not known by the network.
    """

    on_warps = True

    def __init__(self, model: Loaded) -> None:
        self._net = model.net
        self._doubt = model.option("doubt", [0.35, 0.65])
        self._backpack_doubt = model.option("backpack_doubt", [0.35, 0.95])
        self._sleeves = model.option("sleeves", 0.5)
        self._whole = model.option("whole", 1.5)
        self._patch = model.option("patch", 0.25)

    def crop(self, seen: BodyView) -> Dressed:
        box = seen.box
        height = max(box.height, _PROPORTION * box.width)
        extended = Box(box.left, box.top, box.right, box.top + height)
        return Dressed(
            seen.cut(extended, self._net.size).pixels, box.height / height, box.height >= self._whole * box.width
        )

    def run(self, crops: list[Dressed]) -> list[Findings]:
        outputs = self._net.see([crop.pixels for crop in crops])
        rows = (outputs[name].reshape(len(crops), -1) for name in ("453", "456", "459"))
        return [self._findings(*each) for each in zip(crops, *rows, strict=True)]

    def _findings(self, crop: Dressed, shares: Array, upper: Array, lower: Array) -> Findings:
        male, _bag, backpack, hat, long_sleeves, trousers, _long_hair, _coat = map(float, shares)
        return {
            "basic_attributes": BodyBasicAttributes(apparent_gender=self._sex(crop, male)),
            "upper_body": UpperBody(
                headwear=Headwear(state=_code(hat, self._doubt), apparent_color=UNDEFINED),
                # A low share does not mean short ones: suits get 0.02.
                sleeve=Sleeve(length="long" if long_sleeves >= self._sleeves else UNDEFINED),
                upper_clothing=Colors(colors=self._colours(crop, upper)),
            ),
            "lower_body": LowerBody(
                lower_garment=self._garment(crop, trousers, lower), shoes=Shoes(apparent_color=UNDEFINED)
            ),
            "accessories": Accessories(backpack=Backpack(state=_code(backpack, self._backpack_doubt))),
        }

    def _sex(self, crop: Dressed, male: float) -> Literal[0, 1, 2]:
        """Taught with people from head to foot, the network takes half of the men it sees down to the waist for women:
        of ten busts of men five have at most 0.43. Who is male then is so, who is not may be either."""
        sex = _code(male, self._doubt)
        return sex if crop.whole or sex == 1 else 2

    def _garment(self, crop: Dressed, trousers: float, point: Array) -> LowerGarment:
        """What is not long trousers may be shorts or a skirt: the network does not say."""
        if not crop.whole:
            return LowerGarment(type=UNDEFINED, colors=[UNDEFINED])
        return LowerGarment(
            type="trousers" if trousers >= self._doubt[1] else UNDEFINED, colors=self._colours(crop, point)
        )

    def _colours(self, crop: Dressed, point: Array) -> list[str]:
        """Below a point in parts of the crop: of the upper body it is where the neck ends."""
        height, width = crop.pixels.shape[:2]
        side = max(round(self._patch * width), 2)
        left = min(max(round(float(point[0]) * width) - side // 2, 0), width - side)
        top = max(round(float(point[1]) * height), 0)
        bottom = min(top + side, round(crop.shown * height))
        patch = crop.pixels[top:bottom, left : left + side]
        return colours(patch) if len(patch) >= side // 2 else [UNDEFINED]


def _code(share: float, doubt: list[float]) -> Literal[0, 1, 2]:
    """The contract's 0 absent (female), 1 present (male), 2 undefined."""
    return 1 if share >= doubt[1] else 0 if share <= doubt[0] else 2
