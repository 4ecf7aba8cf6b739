"""What an estimator is: one file in this folder, one line in ``services/remote_sdk/kinds.py``, one manifest."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from services.remote_sdk.stages.view import BodyView, FaceView

Findings = dict[str, Any]
"""What is known of one face or body: values of ``libs/common/wire/estimations.py`` by the name of their field in
``FaceAttributes`` or ``BodyAttributes`` (and ``landmarks68`` in ``FaceResult``)."""

V = TypeVar("V", FaceView, BodyView, contravariant=True)
C = TypeVar("C")


class Estimator(Protocol[V, C]):
    """Estimates something of faces or of bodies. Holds only networks: any number of threads may call it at once.

    ``on_warps``: whether it may look at a warp, which has no landmarks and no pose of its own.
    """

    on_warps: bool

    def crop(self, seen: V) -> C:
        """What :meth:`run` needs of one face or body. Called once for each, while its picture is in memory: keep it
        small, and copy what you keep."""
        ...

    def run(self, crops: list[C]) -> list[Findings]:
        """The findings for crops of several faces, pictures and callers, in order; never called with none."""
        ...


FaceEstimator = Estimator[FaceView, Any]
BodyEstimator = Estimator[BodyView, Any]
