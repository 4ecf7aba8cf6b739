"""Pictures for networks on a GPU: decoded in processes and uploaded, or, JPEGs, decoded by the GPU itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from libs.common.errors import MienError
from services.remote_sdk.decoding.port import Decoded, Decoder, Encoded
from services.remote_sdk.engines.port import EngineMissing
from services.remote_sdk.networks.frames import Pixels, in_memory, on_device
from services.remote_sdk.stages.decode import AS_SHOWN, Limits, PlainJpeg, Wish, encode_jpeg, plain_jpeg


def check_device(device: torch.device) -> None:
    """Have the device decode a picture. Raises EngineMissing where it does not."""
    if device.type == "cpu":
        raise EngineMissing("the device is to decode JPEGs (MIEN_SDK_DECODE), and inference runs on the CPU")
    try:
        _decoded([encode_jpeg(np.zeros((8, 8, 3), np.uint8))], device)
    except (ImportError, OSError, RuntimeError) as reason:
        raise EngineMissing(f"device {device} is to decode JPEGs (MIEN_SDK_DECODE, mien[gpu]): {reason}") from reason


def _decoded(jpegs: list[bytes], device: torch.device) -> list[Tensor]:
    """uint8 (h, w, 3) each. Raises RuntimeError when one of them is damaged."""
    from torchcodec import decoders

    if not jpegs:
        return []
    encoded = [torch.from_numpy(np.frombuffer(jpeg, np.uint8).copy()) for jpeg in jpegs]
    found = decoders.decode_jpeg(encoded, mode="RGB", device=device)  # pyright: ignore[reportPrivateImportUsage]
    return [frame.permute(1, 2, 0) for frame in found]


class OnDevice:
    """A picture on a device. See :class:`services.remote_sdk.decoding.port.Decoded`."""

    def __init__(self, frame: Tensor, exif: dict[str, Any] | None, reduced: int = 1) -> None:
        """``frame``: uint8 (h, w, 3)."""
        self.frame = frame
        self.exif = exif
        self.reduced = reduced
        self._pixels: Pixels | None = None

    @property
    def pixels(self) -> Pixels:
        if self._pixels is None:
            self._pixels = in_memory(self.frame)
        return self._pixels


class Uploading:
    """What another decoder gives, on a device. The pixels it was made of are let go, for others to be decoded into: who
    wants them in main memory has them copied back."""

    def __init__(self, decoder: Decoder, device: torch.device) -> None:
        self._decoder = decoder
        self._device = device

    def decode(self, data: bytes, content_type: str | None, wish: Wish = AS_SHOWN) -> OnDevice:
        return self._uploaded(self._decoder.decode(data, content_type, wish))

    def decode_all(self, asked: Sequence[Encoded]) -> list[OnDevice | MienError]:
        found = self._decoder.decode_all(asked)
        return [each if isinstance(each, MienError) else self._uploaded(each) for each in found]

    def close(self) -> None:
        self._decoder.close()

    def _uploaded(self, picture: Decoded) -> OnDevice:
        return OnDevice(on_device(picture.frame, self._device), picture.exif, picture.reduced)


class JpegsOnDevice:
    """JPEGs of 8-bit grey or YCbCr, those of a call together, decoded by the device, in this process (nvJPEG, by
    TorchCodec); everything else, and what the device refuses, by another decoder.

    A GPU paints over what is damaged in the middle of a picture, where the other decoders say BROKEN_IMAGE, and a
    crash of its decoder is one of this process. So somebody has to ask for it. See :func:`check_device`.
    """

    def __init__(self, others: Decoder, limits: Limits, device: torch.device) -> None:
        self._others = others
        self._limits = limits
        self._device = device

    def decode(self, data: bytes, content_type: str | None, wish: Wish = AS_SHOWN) -> Decoded:
        [outcome] = self.decode_all([Encoded(data, content_type, wish)])
        if isinstance(outcome, MienError):
            raise outcome
        return outcome

    def decode_all(self, asked: Sequence[Encoded]) -> list[Decoded | MienError]:
        outcomes: dict[int, Decoded | MienError] = {}
        jpegs: dict[int, PlainJpeg] = {}
        for number, each in enumerate(asked):
            try:
                if jpeg := plain_jpeg(each.data, each.content_type, self._limits, each.wish):
                    jpegs[number] = jpeg
            except MienError as error:
                outcomes[number] = error
        try:
            frames = _decoded([jpeg.data for jpeg in jpegs.values()], self._device)
            for (number, jpeg), frame in zip(jpegs.items(), frames, strict=True):
                outcomes[number] = OnDevice(_turned(frame, jpeg.turn), jpeg.exif)
        except RuntimeError:
            # The device names none of those it refuses: the others say which. Until its decoder has ended it writes
            # pictures into memory that nobody holds any more.
            if self._device.type == "cuda":
                torch.cuda.current_stream(self._device).synchronize()
        left = [number for number in range(len(asked)) if number not in outcomes]
        outcomes |= zip(left, self._others.decode_all([asked[number] for number in left]), strict=True)
        return [outcomes[number] for number in range(len(asked))]

    def close(self) -> None:
        self._others.close()


def _turned(frame: Tensor, orientation: int | None) -> Tensor:
    """Upright; ``orientation`` as EXIF 2.32, tag 0x0112 numbers them: where row 0 and column 0 belong."""
    if orientation is None:
        return frame.contiguous()
    flipped = frame.flip([axis for axis, some in enumerate(_FLIPPED) if orientation in some])
    return (flipped.transpose(0, 1) if orientation >= _ON_ITS_SIDE else flipped).contiguous()


_FLIPPED = ((3, 4, 6, 7), (2, 3, 7, 8))
"""The orientations whose rows, and whose columns, run the other way."""
_ON_ITS_SIDE = 5
