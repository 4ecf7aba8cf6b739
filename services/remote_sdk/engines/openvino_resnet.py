"""dlib's face descriptor as an OpenVINO graph, built from the torch network that defines it.

OpenVINO's own conversion of torch modules gives the same in 4 s of a processor, and this in a tenth of a second.
"""

from __future__ import annotations

import numpy as np
import openvino
from openvino import Node
from openvino import opset1 as ops
from torch import nn

from services.remote_sdk.networks.resnet import CHIP_SIZE, Block, Describing


def graph_of(network: Describing) -> openvino.Model:
    """Chips, uint8 (n, 150, 150, 3) by the name "chips", to descriptors, float32 (n, 128), "descriptors"."""
    chips = ops.parameter([-1, CHIP_SIZE, CHIP_SIZE, 3], np.uint8)
    chips.output(0).set_names({"chips"})
    maps = ops.convert(ops.transpose(chips, np.array([0, 3, 1, 2])), "f32")
    for layer in network.body:
        maps = _after(layer, maps)
    features = ops.reduce_mean(maps, np.array([2, 3]))
    described = ops.matmul(features, network.head.float().cpu().numpy(), False, False)
    described.output(0).set_names({"descriptors"})
    return openvino.Model([described], [chips], "descriptor")  # pyright: ignore[reportGeneralTypeIssues] (its own stub)


def _after(layer: nn.Module, maps: Node) -> Node:
    match layer:
        case nn.Conv2d():
            return _convolved(layer, maps)
        case nn.ReLU():
            return ops.relu(maps)
        case nn.MaxPool2d(kernel_size=int(side), stride=int(step)):
            return ops.max_pool(maps, [step, step], [0, 0], [0, 0], [side, side], "floor")
        case Block():
            return _block(layer, maps)
    raise TypeError(f"no layer of the descriptor: {layer}")


def _block(block: Block, maps: Node) -> Node:
    added = _convolved(block.second, ops.relu(_convolved(block.first, maps)))
    shortcut = ops.avg_pool(maps, [2, 2], [0, 0], [0, 0], [2, 2], True) if block.halves else maps
    largest = np.maximum(_sizes(added), _sizes(shortcut))
    return ops.relu(ops.add(_padded(added, largest), _padded(shortcut, largest)))


def _convolved(layer: nn.Conv2d, maps: Node) -> Node:
    assert layer.bias is not None  # dlib's layers have one, and affine layers were folded into it
    weight, bias = (each.detach().float().cpu().numpy() for each in (layer.weight, layer.bias))
    pads = list(layer.padding)
    convolved = ops.convolution(maps, np.ascontiguousarray(weight), list(layer.stride), pads, pads, [1, 1])
    return ops.add(convolved, bias.reshape(1, -1, 1, 1))


def _sizes(maps: Node) -> np.ndarray:
    """Channels, rows and columns."""
    return np.array([maps.output(0).partial_shape[axis].get_length() for axis in (1, 2, 3)])


def _padded(maps: Node, sizes: np.ndarray) -> Node:
    """With zeros after what there is."""
    lacking = sizes - _sizes(maps)
    if not lacking.any():
        return maps
    return ops.pad(maps, np.zeros(4, np.int64), np.array([0, *lacking]), "constant", np.float32(0))
