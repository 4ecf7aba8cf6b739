"""Descriptors of bodies: who is dressed and built alike. They live as long as somebody's clothes."""

from __future__ import annotations

from libs.common.wire.estimations import Descriptor
from services.remote_sdk.engines.net import Loaded
from services.remote_sdk.estimators.descriptor import vectors_in
from services.remote_sdk.estimators.port import Findings
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.stages.crops import Pixels
from services.remote_sdk.stages.view import BodyView


class BodyDescriptor:
    """A network on a stretched body; the manifest's ``descriptor`` says what comes out."""

    on_warps = True

    def __init__(self, model: Loaded) -> None:
        """Raises BadManifest when the manifest has no ``descriptor``."""
        if model.manifest.descriptor is None:
            raise BadManifest(f"model {model.manifest.name}: kind {model.manifest.kind} needs a [descriptor]")
        self._net = model.net
        self._described = model.manifest.descriptor
        self._output = next(iter(self._net.described.outputs))

    def crop(self, seen: BodyView) -> Pixels:
        return seen.cut(seen.box, self._net.size).pixels

    def run(self, crops: list[Pixels]) -> list[Findings]:
        vectors = vectors_in(self._net.see(crops)[self._output].reshape(len(crops), -1), self._described)
        version = self._described.version
        return [{"descriptor": Descriptor(version=version, data=each.astype("<f4").tobytes())} for each in vectors]
