"""Liveness: real people, upstream's attacks, screens and prints that the test makes, and pictures too poor to judge."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageFilter

from libs.common.wire.estimations import Liveness
from libs.common.wire.sdk import SdkParams
from services.remote_sdk.engines.net import load
from services.remote_sdk.engines.openvino_engine import OpenVino
from services.remote_sdk.estimators import liveness
from services.remote_sdk.models.library import Library
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.stages.chain import warp_view
from services.remote_sdk.stages.rules import verdict
from services.remote_sdk.stages.view import FaceView
from tests.photos import shared
from tests.unit.remote_sdk.estimators.views import everyone, face, found, seen_again, seen_in
from tests.unit.remote_sdk.looking import photo
from tests.unit.remote_sdk.models import describe, network

MODEL = "minifasnet"
PORTRAIT = "face_recognition/train/obama/obama.jpg"
SCENE = "objects/cars_1.jpg"


def estimated(view: FaceView) -> Liveness:
    return found(MODEL, view)["liveness"]


def said(view: FaceView, **thresholds: float) -> str:
    return verdict(estimated(view), SdkParams.model_validate(thresholds)).prediction


def cut_out(view: FaceView, sides: float) -> Pillow.Image:
    """As much of the photo about a face, in sides of its box."""
    height, width = view.pixels.shape[:2]
    box = view.box.grown(sides)
    left, top, right, bottom = map(int, (box.left, box.top, box.right, box.bottom))
    return Pillow.fromarray(view.pixels).crop((max(left, 0), max(top, 0), min(right, width), min(bottom, height)))


def on_a_screen(view: FaceView, seed: int) -> FaceView:
    """Shown by a tablet in a street: its black frame, bluish, a little blurred, with the moire of two grids."""
    rng = np.random.default_rng(seed)
    shown = cut_out(view, 4.0)
    shown.thumbnail((700, 700))
    pixels = np.asarray(shown.filter(ImageFilter.GaussianBlur(1.0)), np.float64)
    y, x = np.mgrid[: shown.height, : shown.width]
    often, turned = rng.uniform(0.6, 1.4), rng.uniform(0, math.pi)
    along = x * math.cos(turned) + y * math.sin(turned)
    across = x * math.sin(turned) - y * math.cos(turned)
    moire = 1 + 0.08 * np.sin(often * along) + 0.05 * np.sin(1.07 * often * across)
    lit = (pixels * moire[..., None] * 0.85 + (10, 18, 35)).clip(0, 255).astype(np.uint8)
    tablet = Pillow.new("RGB", (shown.width + 70, shown.height + 70), (12, 12, 14))
    tablet.paste(Pillow.fromarray(lit), (35, 35))
    street = Pillow.fromarray(photo(shared(SCENE))).resize((1280, 960))
    street.paste(tablet, ((1280 - tablet.width) // 2, (960 - tablet.height) // 2))
    return seen_again(street)


def test_of_upstreams_pictures_the_person_is_real_and_the_print_and_the_screen_are_spoofs() -> None:
    assert [said(face(f"liveness/image_{name}.jpg")) for name in ("T1", "F1", "F2")] == ["real", "spoof", "spoof"]
    assert estimated(face("liveness/image_T1.jpg")).estimations.probability > 0.99


def test_people_before_the_camera_are_real() -> None:
    words = [said(view) for _, people in everyone() for view in people]
    assert len(words) >= 82
    assert words.count("real") >= 77


def test_faces_on_a_screen_are_spoofs() -> None:
    portraits = [people[0] for path, people in everyone() if len(people) == 1 and not path.startswith("glasses/")]
    words = [said(on_a_screen(view, seed)) for seed, view in enumerate(portraits)]
    assert len(words) >= 25
    assert words.count("spoof") >= 22


def test_what_a_spoof_shows_does_not_go_away_when_it_fills_the_picture() -> None:
    for name in ("F1", "F2"):
        spoof = face(f"liveness/image_{name}.jpg")
        for sides in (1.5, 2.0, 2.5):
            assert said(seen_again(cut_out(spoof, sides))) == "spoof"


@pytest.mark.parametrize("how", ["blurred", "cut out", "shrunk", "dimmed", "grey"])
def test_the_quality_falls_with_what_hides_whether_somebody_is_real(how: str) -> None:
    view = face(PORTRAIT)
    picture = Pillow.fromarray(view.pixels)
    smaller = 24 / view.box.width
    spoilt = {
        "blurred": lambda: picture.filter(ImageFilter.GaussianBlur(0.03 * view.box.width)),
        "cut out": lambda: cut_out(view, 1.2),
        "shrunk": lambda: picture.resize(
            (int(picture.width * smaller), int(picture.height * smaller)), Pillow.Resampling.BOX
        ),
        "dimmed": lambda: picture.point(lambda value: value * 0.2),
        "grey": lambda: picture.convert("L").convert("RGB"),
    }[how]
    poor = seen_again(spoilt())
    assert estimated(view).estimations.quality > 0.9
    assert estimated(poor).estimations.quality < 0.8
    assert said(poor, quality_threshold=0.8) == "unknown"


def test_a_face_at_any_edge_or_larger_than_the_picture_is_judged() -> None:
    view = face("liveness/image_T1.jpg")
    height, width = view.pixels.shape[:2]
    left, top, right, bottom = map(int, (view.box.left, view.box.top, view.box.right, view.box.bottom))
    picture = Pillow.fromarray(view.pixels)
    for edges in ((left, 0, width, height), (0, top, width, height), (0, 0, right, height), (0, 0, width, bottom)):
        assert said(seen_again(picture.crop(edges))) == "real"
    inside = view.box.grown(0.8)
    for each in seen_in(picture.crop((int(inside.left), int(inside.top), int(inside.right), int(inside.bottom)))):
        assert 0 <= estimated(each).estimations.probability <= 1


# Networks of the test's own, whose probabilities are the mean of each colour


def own(folder: Path, outputs: str = 'p = "probabilities"', options: str = "") -> liveness.Liveness:
    def mean_of_channels(helper) -> list:
        return [helper.make_node("ReduceMean", ["x"], [outputs[0]], axes=[2, 3], keepdims=0)]

    weights = network(mean_of_channels, {"x": ["n", 3, 8, 8]}, {outputs[0]: ["n", 3]})
    parts = {"networks.near": 'files = ["own.onnx"]\ninputs.x = { width = 8, height = 8, scale = [255.0] }'}
    parts |= {"networks.near.outputs": outputs, "options": options}
    describe(folder / "own", "own", "minifasnet", "liveness", weights, **parts)
    return liveness.Liveness(load(Library(folder).model("own"), [OpenVino(bf16=False, threads=1)]))


def seen(green: int) -> FaceView:
    return warp_view(np.full((250, 250, 3), (0, green, 0), np.uint8))


@pytest.mark.parametrize(("green", "probability"), [(0, 0.0), (102, 0.6667), (204, 0.9231), (255, 1.0)])
def test_the_prior_odds_of_the_manifest_make_the_probability(tmp_path: Path, green: int, probability: float) -> None:
    one = own(tmp_path, options="prior_odds = 3")
    [findings] = one.run([one.crop(seen(green))])
    assert findings["liveness"].estimations.probability == pytest.approx(probability, abs=0.002)


def test_another_place_of_the_living_person_is_an_option(tmp_path: Path) -> None:
    one = own(tmp_path, options="real = 2")
    assert one.run([one.crop(seen(255))])[0]["liveness"].estimations.probability == 0


def test_a_network_without_the_output_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match=r"own: networks\.near has no output p"):
        own(tmp_path, outputs='q = "probabilities"')
