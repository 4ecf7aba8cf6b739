"""Reader of dlib's serialization: pure Python and numpy, no code of dlib.

Facts of the format (dlib 19 and 20, `serialize.h`, `float_details.h`, `dnn/core.h`, `dnn/layers.h`, `dnn/loss.h`):

- integer: a control byte (low 4 bits: how many bytes follow, 0x80: negative), then little-endian bytes;
- float: integer mantissa m and integer exponent e, value m * 2^e; bool: the character '0' or '1';
- string: length and bytes; tensor: version 2, four sizes, raw little-endian float32;
- network: from the loss down, the version of every nested layer until the input layer, then each layer's record
  upwards. Tags and skips have version 1 and no record; they are dropped here, the caller knows the topology.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_FLOAT_SPECIAL = 32000  # exponents from here on mean inf, -inf, nan: no weight is any of these


class FormatError(Exception):
    """The bytes are not what the format says: truncated, too long, or of a kind not read here."""


class Convolution(NamedTuple):
    """weight: float32 (out, in, rows, columns); bias: float32 (out,); stride and padding: (y, x) in pixels."""

    weight: Floats
    bias: Floats
    stride: tuple[int, int]
    padding: tuple[int, int]


class Affine(NamedTuple):
    """y = gamma * x + beta per channel, float32 (channels,)."""

    gamma: Floats
    beta: Floats


class FullyConnected(NamedTuple):
    """weight: float32 (inputs, outputs); the nets read here have no bias."""

    weight: Floats


class Pool(NamedTuple):
    """kind: "max" or "average"; size (0 = the whole map), stride and padding: (y, x)."""

    kind: str
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


class Relu(NamedTuple):
    """y = max(x, 0)."""


class AddPrevious(NamedTuple):
    """Adds the output of an earlier, tagged layer."""


Layer = Convolution | Affine | FullyConnected | Pool | Relu | AddPrevious


class Window(NamedTuple):
    """A detection window in pixels of the tensor, and the label of what it finds (may be empty)."""

    width: int
    height: int
    label: str


@dataclass(frozen=True)
class MmodOptions:
    """What an MMOD detector keeps beside its weights: windows, and the overlaps at which a weaker box is dropped.

    `overlap` is intersection / area of the bounding rectangle of both; `covered` is intersection / area of either.
    """

    windows: list[Window]
    overlap: float
    covered: float


@dataclass(frozen=True)
class Network:
    """mean: RGB subtracted from the input (0..255) before it is divided by 256; layers: from input to output."""

    loss: str
    options: MmodOptions | None
    mean: tuple[float, float, float]
    layers: list[Layer]


@dataclass(frozen=True)
class ShapePredictor:
    """A cascade of regression trees (Kazemi and Sullivan, 2014), in unit coordinates of the face box.

    initial: float32 (points, 2); first, second: int64 (cascades, trees, splits) pixel indices;
    threshold: float32 (cascades, trees, splits); leaves: float32 (cascades, trees, splits + 1, points * 2);
    anchor: int64 (cascades, pixels), index of a point; offset: float32 (cascades, pixels, 2).
    """

    initial: Floats
    first: Integers
    second: Integers
    threshold: Floats
    leaves: Floats
    anchor: Integers
    offset: Floats


def read_network(content: bytes) -> Network:
    """Read a network saved with its loss layer (`loss_mmod` or `loss_metric`).

    Raises FormatError when the bytes end early, go on after the network, or hold a layer not known here.
    """
    cursor = _Cursor(content)
    cursor.expect(1, "version of the loss layer")
    loss = cursor.string()
    options = _loss_options(cursor, loss)
    versions = _nested_versions(cursor)
    mean = _input_mean(cursor)
    layers = [_layer(cursor, version) for version in reversed(versions) if version != 1]
    cursor.finish()
    return Network(loss, options, mean, layers)


class _Cursor:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._content[self._at : self._at + count]
        if len(taken) != count:
            raise FormatError(f"ends at byte {len(self._content)}, {count} more wanted at {self._at}")
        self._at += count
        return taken

    def peek(self, count: int) -> bytes:
        return self._content[self._at : self._at + count]

    def integer(self) -> int:
        control = self.take(1)[0]
        count = control & 0x0F
        if control & 0x70 or not 1 <= count <= 8:
            raise FormatError(f"byte {self._at - 1} is no control byte of an integer: {control:#04x}")
        value = int.from_bytes(self.take(count), "little")
        return -value if control & 0x80 else value

    def expect(self, value: int, what: str) -> None:
        if (found := self.integer()) != value:
            raise FormatError(f"{what} is {found}, only {value} is known")

    def floating(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        if exponent >= _FLOAT_SPECIAL:
            raise FormatError(f"a number before byte {self._at} is infinite or not a number")
        return float(mantissa) * 2.0**exponent

    def boolean(self) -> bool:
        if (character := self.take(1)) not in (b"0", b"1"):
            raise FormatError(f"byte {self._at - 1} is no bool: {character!r}")
        return character == b"1"

    def string(self) -> str:
        return self.take(self.integer()).decode("latin-1")

    def pair(self) -> tuple[int, int]:
        return self.integer(), self.integer()

    def shape(self) -> tuple[int, int, int, int]:
        return self.integer(), self.integer(), self.integer(), self.integer()

    def tensor(self) -> Floats:
        self.expect(2, "version of a tensor")
        shape = self.shape()
        count = shape[0] * shape[1] * shape[2] * shape[3]
        return np.frombuffer(self.take(4 * count), "<f4").astype(np.float32).reshape(shape)

    def part_shape(self) -> tuple[int, int, int, int]:
        """The shape of a named part of a parameter tensor; the part's values lie in the tensor."""
        self.expect(1, "version of a tensor part")
        return self.shape()

    def finish(self) -> None:
        if left := len(self._content) - self._at:
            raise FormatError(f"{left} bytes left after the end")


def _loss_options(cursor: _Cursor, loss: str) -> MmodOptions | None:
    if loss == "loss_mmod_":
        return _mmod_options(cursor)
    if loss == "loss_metric_2":
        for _ in ("margin", "distance threshold"):
            cursor.floating()
        return None
    raise FormatError(f"loss layer {loss!r} is not known")


def _mmod_options(cursor: _Cursor) -> MmodOptions:
    version = cursor.integer()
    if version == 1:
        windows = [Window(*cursor.pair(), "")]
    elif version == 2:
        windows = [_window(cursor) for _ in range(cursor.integer())]
    else:
        raise FormatError(f"MMOD options of version {version} are not known")
    for _ in ("loss per false alarm", "loss per missed target", "truth match threshold"):
        cursor.floating()
    overlap, covered = cursor.floating(), cursor.floating()
    for _ in ("overlap to ignore", "covered part to ignore"):
        cursor.floating()
    return MmodOptions(windows, overlap, covered)


def _window(cursor: _Cursor) -> Window:
    version = cursor.integer()
    width, height = cursor.pair()
    return Window(width, height, cursor.string() if version >= 2 else "")


def _nested_versions(cursor: _Cursor) -> list[int]:
    versions = []
    # A length byte stands between the control byte of the string and its text.
    while cursor.peek(7)[2:] != b"input":
        version = cursor.integer()
        if version not in (1, 2, 3):
            raise FormatError(f"layer version {version} is not known")
        versions.append(version)
    return versions


def _input_mean(cursor: _Cursor) -> tuple[float, float, float]:
    kind = cursor.string()
    mean = cursor.floating(), cursor.floating(), cursor.floating()
    if kind == "input_rgb_image_sized":
        cursor.pair()
    elif kind != "input_rgb_image_pyramid":
        raise FormatError(f"input layer {kind!r} is not known")
    return mean


def _layer(cursor: _Cursor, version: int) -> Layer:
    kind = cursor.string()
    if kind not in _LAYERS:
        raise FormatError(f"layer {kind!r} is not known")
    layer = _LAYERS[kind](cursor)
    for _ in ("set up", "gradient is stale", "gradient is disabled"):
        cursor.boolean()
    for _ in ("input gradient", "output", "parameter gradient"):
        cursor.tensor()
    if version == 3:
        cursor.expect(1, "expansion of samples")
    return layer


def _convolution(cursor: _Cursor) -> Convolution:
    values = cursor.tensor().ravel()
    cursor.integer()  # filters: the shape of the weights says the same
    cursor.pair()
    stride, padding = cursor.pair(), cursor.pair()
    shape, bias_shape = cursor.part_shape(), cursor.part_shape()
    for _ in ("learning rate", "weight decay", "bias learning rate", "bias weight decay"):
        cursor.floating()
    weight, bias = np.split(values, [int(np.prod(shape))])
    if bias.size != int(np.prod(bias_shape)):
        raise FormatError(f"a convolution has {values.size} values for {shape} and {bias_shape}")
    return Convolution(weight.reshape(shape), bias, stride, padding)


def _affine(cursor: _Cursor) -> Affine:
    gamma, beta = _halves(cursor)
    cursor.integer()  # mode: for convolutions or not, the same arithmetic
    return Affine(gamma, beta)


def _batch_norm(cursor: _Cursor) -> Affine:
    """A training layer standing where the net says `affine`: fold its running statistics."""
    gamma, beta = _halves(cursor)
    for _ in ("means", "inverse deviations"):
        cursor.tensor()
    mean, variance = cursor.tensor().ravel(), cursor.tensor().ravel()
    for _ in ("updates", "window of running statistics"):
        cursor.integer()
    for _ in ("learning rate", "weight decay", "bias learning rate", "bias weight decay"):
        cursor.floating()
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + cursor.floating())
    return Affine(scale.astype(np.float32), (beta - mean * scale).astype(np.float32))


def _halves(cursor: _Cursor) -> tuple[Floats, Floats]:
    values = cursor.tensor().ravel()
    for _ in ("gamma", "beta"):
        cursor.part_shape()
    gamma, beta = values.reshape(2, -1)
    return gamma, beta


def _fully_connected(cursor: _Cursor) -> FullyConnected:
    outputs, inputs = cursor.pair()
    values = cursor.tensor()
    for _ in ("weights", "biases"):
        cursor.part_shape()
    cursor.integer()  # bias mode
    for _ in ("learning rate", "weight decay", "bias learning rate", "bias weight decay"):
        cursor.floating()
    if values.size != inputs * outputs:
        raise FormatError(f"a fully connected layer {inputs} x {outputs} has {values.size} values: bias not known")
    return FullyConnected(values.reshape(inputs, outputs))


_LAYERS = {
    "con_4": _convolution,
    "affine_": _affine,
    "bn_con2": _batch_norm,
    "fc_2": _fully_connected,
    "relu_": lambda cursor: Relu(),
    "add_prev_": lambda cursor: AddPrevious(),
    "max_pool_2": lambda cursor: Pool("max", cursor.pair(), cursor.pair(), cursor.pair()),
    "avg_pool_2": lambda cursor: Pool("average", cursor.pair(), cursor.pair(), cursor.pair()),
}

# Bytes from one control byte to the next; 255 for what is none, so that the walk ends and the check below speaks.
_STEP = bytes(1 + (code & 0x0F) if not code & 0x70 and 1 <= code & 0x0F <= 8 else 255 for code in range(256))


def _integers(content: bytes) -> Integers:
    """All integers of a stream that holds nothing else: one short loop finds where they start, numpy does the rest."""
    steps = content.translate(_STEP)
    starts = np.fromiter(_walk(steps), np.int64)
    steps_taken = np.frombuffer(steps, np.uint8)[starts]
    if (steps_taken == 255).any():
        raise FormatError(f"no integer at byte {starts[np.argmax(steps_taken == 255)]} of {len(content)}")
    if starts.size and starts[-1] + steps_taken[-1] != len(content):
        raise FormatError(f"ends at byte {len(content)} within the integer at {starts[-1]}")
    return _decode(np.frombuffer(content, np.uint8), starts, steps_taken)


def _walk(steps: bytes) -> Iterator[int]:
    at, end = 0, len(steps)
    while at < end:
        yield at
        at += steps[at]


def _decode(content: NDArray[np.uint8], starts: Integers, steps: NDArray[np.uint8]) -> Integers:
    values = np.zeros(starts.size, np.int64)
    for byte in range(1, int(steps.max(initial=1))):
        longer = np.flatnonzero(steps > byte)
        values[longer] |= content[starts[longer] + byte].astype(np.int64) << (8 * (byte - 1))
    return np.where(content[starts] & 0x80, -values, values)


class _Numbers:
    def __init__(self, values: Integers) -> None:
        self._values = values
        self._at = 0

    def take(self, *shape: int) -> Integers:
        count = int(np.prod(shape))
        taken = self._values[self._at : self._at + count]
        if min(shape) < 0 or taken.size != count:
            raise FormatError(f"ends after {self._values.size} numbers, {count} more wanted at {self._at}")
        self._at += count
        return taken.reshape(shape)

    def one(self) -> int:
        return int(self.take(1)[0])

    def peek(self, count: int) -> list[int]:
        """The next numbers, left where they are: sizes that stand within the table they describe."""
        coming = self._values[self._at : self._at + count].tolist()
        if len(coming) != count:
            raise FormatError(f"ends after {self._values.size} numbers, {count} more wanted at {self._at}")
        return coming

    def expect(self, values: Integers, value: int, what: str) -> None:
        if (values != value).any():
            raise FormatError(f"{what} is not {value} everywhere")

    def finish(self) -> None:
        if left := self._values.size - self._at:
            raise FormatError(f"{left} numbers left after the end")


def read_shape_predictor(content: bytes) -> ShapePredictor:
    """Read a shape predictor whose trees all have the same depth (every file dlib has published).

    Raises FormatError when the bytes end early, go on after the predictor, or are of another kind.
    """
    numbers = _Numbers(_integers(content))
    numbers.expect(numbers.take(1), 1, "version of the shape predictor")
    initial = _matrix(numbers)
    forests = _forests(numbers, initial.size)
    cascades = forests[0].shape[0]
    anchor = _cascaded(numbers, cascades, 1)[..., 0]
    offset = _floats(_cascaded(numbers, cascades, 4).reshape(cascades, -1, 2, 2))
    numbers.finish()
    return ShapePredictor(initial.reshape(-1, 2), *forests, anchor, offset)


def _matrix(numbers: _Numbers) -> Floats:
    rows, columns = abs(numbers.one()), abs(numbers.one())  # negative sizes mark the newer of two encodings
    return _floats(numbers.take(rows * columns, 2))


def _forests(numbers: _Numbers, values: int) -> tuple[Integers, Integers, Floats, Floats]:
    """first, second, threshold and leaves of ShapePredictor; the shape is read from the first tree."""
    cascades = numbers.one()
    trees, splits = numbers.peek(2)
    tree = 1 + 4 * splits + 1 + (splits + 1) * (2 + 2 * values)
    table = numbers.take(cascades, 1 + trees * tree)
    numbers.expect(table[:, 0], trees, "number of trees")
    table = table[:, 1:].reshape(cascades, trees, tree)
    numbers.expect(table[:, :, 0], splits, "number of splits")
    numbers.expect(table[:, :, 1 + 4 * splits], splits + 1, "number of leaves")
    split = table[:, :, 1 : 1 + 4 * splits].reshape(cascades, trees, splits, 4)
    leaf = table[:, :, 2 + 4 * splits :].reshape(cascades, trees, splits + 1, 2 + 2 * values)
    numbers.expect(abs(leaf[..., 0] * leaf[..., 1]), values, "size of a leaf")
    leaves = _floats(leaf[..., 2:].reshape(cascades, trees, splits + 1, values, 2))
    return split[..., 0].copy(), split[..., 1].copy(), _floats(split[..., 2:]), leaves


def _cascaded(numbers: _Numbers, cascades: int, width: int) -> Integers:
    """A vector per cascade of items of `width` integers each: int64 (cascades, items, width)."""
    numbers.expect(numbers.take(1), cascades, "number of cascades")
    (items,) = numbers.peek(1)
    table = numbers.take(cascades, 1 + items * width)
    numbers.expect(table[:, 0], items, "number of pixels")
    return table[:, 1:].reshape(cascades, items, width).copy()


def _floats(pairs: Integers) -> Floats:
    """(..., 2) mantissas and exponents to float32 (...)."""
    if (pairs[..., 1] >= _FLOAT_SPECIAL).any():
        raise FormatError("a number is infinite or not a number")
    return np.ldexp(pairs[..., 0].astype(np.float64), pairs[..., 1].astype(np.int32)).astype(np.float32)
