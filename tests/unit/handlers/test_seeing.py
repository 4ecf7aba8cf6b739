"""What the steps that look at pictures make of what inference found."""

from __future__ import annotations

from typing import Any

from libs.common import clock
from libs.common.ids import new_id
from libs.common.wire.estimations import BasicAttributes, Descriptor, FaceAttributes, ImageEstimations, People, Rect
from libs.common.wire.handlers import EmitQuery, WholePicture
from libs.common.wire.policies import Policies
from libs.common.wire.sdk import (
    BodyResult,
    ErrorBody,
    FaceAggregate,
    FaceResult,
    Image,
    ImageResult,
    Person,
    SdkParams,
    SdkResult,
)
from services.handlers.emission import Emission, Picture
from services.handlers.ports import Services
from services.handlers.records import emitted
from services.handlers.steps.seeing import check_faces, detect

WIDE_FACES = {"estimate": 1, "filter": 1, "checks": {"face_width": {"threshold": {"min": 100}}}}
BODY = BodyResult(
    rect=Rect(x=0, y=0, width=128, height=256), score=1, descriptor=Descriptor(version=2001, data=bytes(8), score=0.7)
)


class Eyes:
    """Satisfies Sdk: a picture named ``140`` shows a body with a face of that width; everybody is as old as wide."""

    async def estimate(self, images: list[Image], params: SdkParams) -> SdkResult:
        widths = [int(image.filename) for image in images]
        mean = round(sum(widths) / len(widths))
        return SdkResult(
            images=[self._image(width) for width in widths],
            aggregate=FaceAggregate(attributes=aged(mean), descriptor=described(mean)),
        )

    def _image(self, width: int) -> ImageResult:
        rect = Rect(x=0, y=0, width=width, height=width)
        face = FaceResult(rect=rect, score=1, attributes=aged(width), descriptor=described(width))
        return ImageResult(
            filename=str(width),
            status=1,
            error=ErrorBody(error_code=0, desc="Success"),
            estimations=ImageEstimations(people=People(count=3, coordinates=[(1, 2)])),
            persons=[Person(face=face, body=BODY)],
        )


def aged(years: int) -> FaceAttributes:
    return FaceAttributes(basic_attributes=BasicAttributes(age=years, gender=1))


def described(width: int) -> Descriptor:
    return Descriptor(version=1001, data=bytes([width]), score=0.5)


async def looked_at(*widths: int, **query: Any) -> Emission:
    """Pictures with a face of each width, of which those below 100 fail."""
    eyes: Any = Eyes()
    emission = Emission(
        account=new_id(),
        handler_id=new_id(),
        policies=Policies.model_validate({"detect_policy": {"face_quality": WIDE_FACES}}),
        query=EmitQuery.model_validate(query),
        meta=None,
        created=clock.now(),
        ended=None,
        pictures=[Picture(str(width), Image(filename=str(width), data=b"jpeg")) for width in widths],
    )
    services = Services(eyes, eyes, eyes, eyes, eyes, eyes)
    await detect(emission, services)
    await check_faces(emission, services)
    return emission


async def test_a_face_that_fails_its_checks_has_no_part_in_what_is_aggregated() -> None:
    emission = await looked_at(140, 60, 120, aggregate_attributes=1)
    [draft] = emission.drafts
    assert (draft.descriptor, draft.facts().age) == (described(130), 130)
    assert draft.attributes.face_quality is not None
    assert [seen.picture.filename for seen in draft.seen if seen.person.face] == ["140", "120"]
    assert [rejected.filename for rejected in emission.filtered] == ["60"]


async def test_a_face_that_fails_its_checks_leaves_its_body() -> None:
    emission = await looked_at(60, 140)
    alone, whole = (emitted(emission, draft) for draft in emission.drafts)
    assert (alone.face_attributes, alone.aggregate_estimations.face) == (None, None)
    assert alone.detections[0].samples.face is None
    assert alone.detections[0].samples.body is not None
    assert whole.face_attributes is not None
    assert [event.body_attributes and event.body_attributes.score for event in (alone, whole)] == [0.7, 0.7]


async def test_what_is_estimated_of_whole_pictures_is_reported_with_them() -> None:
    [report] = (await looked_at(140)).reports()
    assert report.image_estimations == WholePicture(people=People(count=3, coordinates=[(1, 2)]))
