"""Reading dlib's files to their exact end, and saying so when they are not what they should be."""

import numpy as np
import pytest

from services.remote_sdk.models.library import builtin
from services.remote_sdk.networks.dlib_format import (
    Convolution,
    FormatError,
    FullyConnected,
    Window,
    read_network,
    read_shape_predictor,
)


@pytest.fixture(scope="module")
def mmod():
    return builtin("dlib-mmod").read()


@pytest.fixture(scope="module")
def sp5():
    return builtin("dlib-sp5").read()


def test_the_detector_is_read_whole(mmod):
    network = read_network(mmod)
    shapes = [layer.weight.shape for layer in network.layers if isinstance(layer, Convolution)]
    assert network.loss == "loss_mmod_"
    assert network.options is not None
    assert network.options.windows == [Window(80, 80, "")]
    assert network.options.overlap == pytest.approx(0.338276)
    assert network.mean == pytest.approx((122.782, 117.001, 104.298))
    assert shapes == [
        (16, 3, 5, 5),
        (32, 16, 5, 5),
        (32, 32, 5, 5),
        (45, 32, 5, 5),
        (45, 45, 5, 5),
        (45, 45, 5, 5),
        (1, 45, 9, 9),
    ]


def test_the_descriptor_is_read_whole():
    network = read_network(builtin("dlib-resnet").read())
    convolutions = [layer for layer in network.layers if isinstance(layer, Convolution)]
    head = network.layers[-1]
    assert isinstance(head, FullyConnected)
    assert head.weight.shape == (256, 128)
    assert len(convolutions) == 29


def test_the_shape_predictor_is_read_whole(sp5):
    predictor = read_shape_predictor(sp5)
    assert predictor.initial.shape == (5, 2)
    assert predictor.leaves.shape == (15, 500, 16, 10)
    assert predictor.first.max() < predictor.anchor.shape[1]
    assert predictor.anchor.max() < 5


@pytest.mark.parametrize("kept", [0, 1, 7, 100, 5000, -1])
def test_a_truncated_network_is_refused(mmod, kept):
    with pytest.raises(FormatError):
        read_network(mmod[:kept])


@pytest.mark.parametrize("kept", [0, 1, 12, 1000, 4_000_000, -1])
def test_a_truncated_shape_predictor_is_refused(sp5, kept):
    with pytest.raises(FormatError):
        read_shape_predictor(sp5[:kept])


def test_bytes_after_the_end_are_refused(mmod, sp5):
    with pytest.raises(FormatError, match="2 bytes left"):
        read_network(mmod + b"\x01\x00")
    with pytest.raises(FormatError, match="1 numbers left"):
        read_shape_predictor(sp5 + b"\x01\x00")


def test_files_of_the_other_kind_are_refused(mmod, sp5):
    with pytest.raises(FormatError):
        read_network(sp5)
    with pytest.raises(FormatError):
        read_shape_predictor(mmod)


def test_flipped_bytes_are_refused_or_read_but_never_hang(mmod):
    """Behind the digest check no such file is read; without it nothing but FormatError may come out."""
    rng = np.random.default_rng(5)
    for at in rng.integers(0, 400, 60):
        content = bytearray(mmod)
        content[at] ^= int(rng.integers(1, 256))
        try:
            read_network(bytes(content))
        except FormatError:
            continue
