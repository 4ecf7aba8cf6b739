"""The answer of ``POST /iso``: every check of ``libs/common/face_checks.py`` that the standard knows, on every face."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from libs.common import face_checks
from libs.common.errors import Code, MienError
from libs.common.face_checks import Bounds, Check, Sight, Words
from libs.common.wire.base import Flag, Wire
from libs.common.wire.estimations import Rect
from libs.common.wire.sdk import Capabilities, ImageResult, IsoQuery, SdkParams, SdkResult
from services.remote_sdk.answer import Error
from services.remote_sdk.slots import FLAGS
from services.remote_sdk.stages.rules import ALLOW, BEST, chosen

CHECKS = {name: check for name, check in face_checks.CHECKS.items() if name not in ("face_width", "face_height")}
"""The standard measures heads; boxes of detectors it does not know."""


class CheckAnswer(Wire):
    """One check. ``result`` is null when there is no verdict, and ``missing`` says why."""

    name: str
    object_value: int | float | str | None
    threshold: Bounds | list[str]
    result: Literal[0, 1] | None
    source: str
    missing: str | None = None


class Iso(Wire):
    """``status`` is 1 when every check was made and passed: what was not looked at is not found to comply."""

    status: Flag
    checks: list[CheckAnswer]


class IsoDetection(Wire):
    rect: Rect
    iso: Iso


class IsoFace(Wire):
    detection: IsoDetection


class IsoEstimation(Wire):
    face: IsoFace


class IsoImage(Wire):
    filename: str
    status: Flag
    error: Error
    estimations: list[IsoEstimation]


class IsoAnswer(Wire):
    """Faces are ordered by size, largest first; ``models`` names what was used, by slot."""

    images: list[IsoImage]
    models: dict[str, str]


class Examination:
    """The checks of one request, of which some may lack their estimator."""

    def __init__(self, query: IsoQuery, capabilities: Capabilities) -> None:
        """Raises BAD_QUERY naming the checks that there are when ``query.checks`` has another one."""
        if unknown := [name for name in query.checks or [] if name not in CHECKS]:
            raise MienError(Code.BAD_QUERY, f"query.checks: no {', '.join(unknown)}; there are {', '.join(CHECKS)}")
        self._query = query
        self._checks = {name: check for name, check in CHECKS.items() if query.checks is None or name in query.checks}
        self._missing = dict(_missing(self._checks.values(), capabilities))

    def params(self) -> SdkParams:
        """What the checks need of ``/sdk``, as far as there is an estimator for it.

        To be counted all faces have to be seen, also where only the best of them is to be judged.
        """
        flags = {check.flag: 1 for check in self._checks.values() if check.flag not in self._missing}
        policy = self._query.multiface_policy
        seen = ALLOW if policy == BEST and "faces_count" in self._checks else policy
        return SdkParams.model_validate({**flags, "multiface_policy": seen, "use_exif_info": self._query.use_exif_info})

    def answer(self, result: SdkResult) -> IsoAnswer:
        return IsoAnswer(images=[self._image(image) for image in result.images], models=result.models)

    def _image(self, image: ImageResult) -> IsoImage:
        faces = [person.face for person in image.persons if person.face]
        return IsoImage(
            filename=image.filename,
            status=image.status,
            error=Error(**image.error.model_dump()),
            estimations=[
                self._estimation(Sight(face, len(faces))) for face in chosen(faces, self._query.multiface_policy)
            ],
        )

    def _estimation(self, sight: Sight) -> IsoEstimation:
        checks = [self._run(name, check, sight) for name, check in self._checks.items()]
        iso = Iso(status=1 if all(check.result for check in checks) else 0, checks=checks)
        return IsoEstimation(face=IsoFace(detection=IsoDetection(rect=sight.face.rect, iso=iso)))

    def _run(self, name: str, check: Check, sight: Sight) -> CheckAnswer:
        missing = self._missing.get(check.flag)
        value = None if missing else check.measure(sight)
        if value is None and missing is None:
            missing = "cannot be measured in this picture"
        return CheckAnswer(
            name=name,
            object_value=value,
            threshold=list(check.allowed.words) if isinstance(check.allowed, Words) else check.allowed,
            result=None if value is None else (1 if check.allowed.allow(value) else 0),
            source=check.source,
            missing=missing,
        )


def _missing(checks: Iterable[Check], capabilities: Capabilities) -> Iterator[tuple[str, str]]:
    """The parameters that some checks need and no model serves, each with what to install."""
    for flag in {check.flag for check in checks} & set(FLAGS):
        estimator = capabilities.estimators[FLAGS[flag]]
        if not estimator.available:
            yield flag, estimator.missing or f"no model is installed for {estimator.name}"
