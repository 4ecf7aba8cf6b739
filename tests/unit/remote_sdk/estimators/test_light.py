"""What estimators say does not depend on the light."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as Pillow

from services.remote_sdk.estimators.light import well_lit
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.stages.luma import luma_of
from services.remote_sdk.stages.view import FaceView
from tests import labels
from tests.unit.remote_sdk.estimators.views import face, found, seen_again

LIGHTS: dict[str, Callable[[int], float]] = {
    "dim": lambda value: 0.5 * value,
    "dark": lambda value: 0.3 * value,
    "hazy": lambda value: 0.6 * value + 90,
}

GLASSES, POSE = "glasses-mobilenetv3", "head-pose-estimation-adas-0001"
AGE, EMOTIONS = "face-api-age-gender", "face-api-expression"


@cache
def told() -> dict[tuple[str, str], dict[str, Findings]]:
    """What the models say of every portrait in every light: the findings of each, by photo and light."""
    return {
        (path, light): {model: found(model, view) for model in (GLASSES, POSE, AGE, EMOTIONS)}
        for path in portraits()
        for light, view in in_every_light(face(path))
    }


def portraits() -> list[str]:
    return [*labels.bare_faces(), *labels.strangers()]


def in_every_light(view: FaceView) -> Iterator[tuple[str, FaceView]]:
    yield "full", view
    for light in LIGHTS:
        yield light, lit(view, light)


def lit(view: FaceView, light: str) -> FaceView:
    return seen_again(Pillow.fromarray(view.pixels).point(LIGHTS[light]))


def moved(light: str, model: str, of: Callable[[Findings], float]) -> float:
    """How far a value moves in this light, on the average of all portraits."""
    pairs = [(of(told()[path, "full"][model]), of(told()[path, light][model])) for path in portraits()]
    assert len(pairs) >= 30
    return float(np.mean([abs(one - other) for one, other in pairs]))


@pytest.mark.parametrize("light", LIGHTS)
def test_nobody_puts_on_glasses_because_it_gets_dark_or_hazy(light: str) -> None:
    known = labels.glasses()
    wears = {path: told()[path, light][GLASSES]["glasses"].glasses != "no_glasses" for path in known}
    assert sum(wears[path] == known[path] for path in known) >= len(known) - 3
    assert len(known) == 30


@pytest.mark.parametrize("light", LIGHTS)
def test_heads_do_not_bow_people_do_not_age_and_a_smile_stays_a_smile(light: str) -> None:
    assert moved(light, POSE, lambda each: each["head_pose"].pitch) < 4
    assert moved(light, AGE, lambda each: each["basic_attributes"].age) < 2.5
    assert moved(light, EMOTIONS, lambda each: each["emotions"].predominant_emotion == "happiness") <= 0.1


@given(arrays(np.uint8, (4, 4, 3)))
def test_a_crop_in_good_light_stays_and_any_other_comes_near_it(pixels: np.ndarray) -> None:
    once = well_lit(pixels)
    assert (once.dtype, once.shape) == (pixels.dtype, pixels.shape)
    luma = luma_of(pixels)
    if 115 <= luma.mean() <= 135 and 50 <= luma.std() <= 75:
        assert np.array_equal(once, pixels)
    flat = well_lit(np.full_like(pixels, pixels[0, 0, 0]))
    assert 114 <= flat.mean() <= 136, "a crop of one colour has no contrast to be stretched"


@given(st.integers(30, 100).map(lambda share: share / 100))
def test_a_crop_at_less_light_becomes_the_same_crop(share: float) -> None:
    y, x = np.mgrid[:32, :32]
    waves = 125 + 60 * (np.sin(x / 3) + np.cos(y / 4)) / 2
    full = np.repeat(waves[..., None], 3, axis=-1).astype(np.uint8)
    dimmed = well_lit((full * share).astype(np.uint8)).astype(float)
    assert np.abs(dimmed - well_lit(full)).mean() < 22, "no more than brightness may differ"
