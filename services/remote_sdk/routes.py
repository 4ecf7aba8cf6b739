"""HTTP of inference: parse, call, answer. Section 7 of the wire contract."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiohttp import web

from libs.common import ports
from libs.common.errors import Code, MienError, success_body
from libs.common.http.inputs import CONSUMES, Inputs, Limits, Sources, read_inputs
from libs.common.http.json_inputs import JsonPictures
from libs.common.http.routes import Call, Routes
from libs.common.wire.sdk import (
    Capabilities,
    ErrorBody,
    ImageResult,
    IsoQuery,
    LivenessQuery,
    SdkParams,
    SdkResult,
)
from services.remote_sdk.answer import SdkAnswer, answer
from services.remote_sdk.iso import Examination, IsoAnswer
from services.remote_sdk.liveness import LivenessAnswer, liveness_answer

SDK: web.AppKey[ports.Sdk] = web.AppKey("sdk")
SOURCES = web.AppKey("sdk.sources", Sources)
LIMITS = web.AppKey("sdk.limits", Limits)

routes = Routes("remote-sdk", "/1")

T = TypeVar("T")

_STILL_THERE_S = 1.0
"""How often it is looked whether a caller still waits."""


@routes.post("/sdk", consumes=CONSUMES, form=JsonPictures)
async def estimate(call: Call, query: SdkParams) -> SdkAnswer:
    """Detect faces, estimate and describe them; nothing is stored. A picture that fails has status 0 and its error.

    landmarks5 are the eyes, the tip of the nose and the corners of the mouth where the detector finds them (yunet).
    dlib's does not: then they are outer and inner corner of the eye on the right of the picture, the same of the left
    one, and the base of the nose.
    """
    return answer(await _estimated(call, query), query)


@routes.get("/capabilities")
async def capabilities(call: Call) -> Capabilities:
    """What can be estimated here, by which model, and what would fill the empty slots."""
    return await call.service(SDK).capabilities()


@routes.post("/liveness", consumes=CONSUMES, form=JsonPictures)
async def liveness(call: Call, query: LivenessQuery) -> LivenessAnswer:
    """Whether a living person was photographed, for every face. Needs a model for liveness, else 200010.

    A face in a picture too poor for a verdict (quality_threshold) is unknown, one at or above liveness_threshold real,
    every other one a spoof.
    """
    return liveness_answer(await _estimated(call, query.params()), query)


@routes.post("/iso", consumes=CONSUMES, form=JsonPictures)
async def iso(call: Call, query: IsoQuery) -> IsoAnswer:
    """Checks of every face after ISO/IEC 19794-5. One whose estimator is not installed says so instead of a verdict."""
    examination = Examination(query, await call.service(SDK).capabilities())
    return examination.answer(await _estimated(call, examination.params()))


async def _estimated(call: Call, params: SdkParams) -> SdkResult:
    """The results of all pictures of a request, those among them that could not be had."""
    await call.service(SDK).require(params)
    return await _while_wanted(call, _read_and_estimated(call, params))


async def _read_and_estimated(call: Call, params: SdkParams) -> SdkResult:
    inputs = await read_inputs(call, call.service(SOURCES), call.service(LIMITS))
    if inputs.parts:
        raise MienError(Code.BAD_BODY, f"{', '.join(inputs.parts)}: nothing is stored here; handlers take these")
    images = [each.image for each in inputs.images if each.image]
    return _in_order(inputs, await call.service(SDK).estimate(images, params))


async def _while_wanted(call: Call, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives, unless its caller goes before: nothing here is kept, and others wait. Raises
    ConnectionResetError.

    aiohttp tells of a connection's end only by cancelling the handlers of all routes, those that store included.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_STILL_THERE_S))[0]:
            if call.request.transport is None:
                raise ConnectionResetError("the caller hung up")
        return task.result()
    finally:
        task.cancel()


def _in_order(inputs: Inputs, result: SdkResult) -> SdkResult:
    estimated = iter(result.images)
    images = [
        ImageResult(filename=each.filename, status=0, error=each.error or ErrorBody(**success_body()))
        if each.image is None
        else next(estimated)
        for each in inputs.images
    ]
    return result.model_copy(update={"images": images})
