"""What an estimator is: one file in this folder, two lines in ``services/remote_sdk/kinds.py``, one manifest."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

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


@runtime_checkable
class Informed(Protocol):
    """An estimator that builds on what others find of the same face or body: on the slots that its manifest ``needs``.

    Those are filled and estimated wherever it is asked, and it runs after them.
    """

    def informed(self, crop: Any, found: Findings) -> Any:
        """The crop together with what :meth:`Estimator.run` needs of the findings."""
        ...


FaceEstimator = Estimator[FaceView, Any]
BodyEstimator = Estimator[BodyView, Any]
