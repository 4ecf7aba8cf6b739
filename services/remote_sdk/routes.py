"""HTTP of inference: parse, call, answer. Section 7 of the wire contract."""

from __future__ import annotations

from aiohttp import web

from libs.common import ports
from libs.common.errors import success_body
from libs.common.http.inputs import CONSUMES, Inputs, Limits, Sources, read_inputs
from libs.common.http.routes import Call, Reply, Routes
from libs.common.wire.sdk import Capabilities, ErrorBody, ImageResult, SdkParams, SdkResult
from services.remote_sdk.answer import SdkAnswer, answer

SDK: web.AppKey[ports.Sdk] = web.AppKey("sdk")
SOURCES = web.AppKey("sdk.sources", Sources)
LIMITS = web.AppKey("sdk.limits", Limits)

routes = Routes("remote-sdk", "/1")


@routes.post("/sdk", consumes=CONSUMES)
async def estimate(call: Call, query: SdkParams) -> SdkAnswer:
    """Detect faces, estimate and describe them; nothing is stored. A picture that fails has status 0 and its error.

    landmarks5 are the eyes, the tip of the nose and the corners of the mouth where the detector finds them (yunet).
    dlib's does not: then they are outer and inner corner of the eye on the right of the picture, the same of the left
    one, and the base of the nose.
    """
    sdk = call.service(SDK)
    await sdk.require(query)
    inputs = await read_inputs(call, call.service(SOURCES), call.service(LIMITS))
    result = await sdk.estimate([each.image for each in inputs.images if each.image], query)
    return answer(_in_order(inputs, result), query)


def _in_order(inputs: Inputs, result: SdkResult) -> SdkResult:
    """The results of all pictures of a request, those among them that could not be had."""
    estimated = iter(result.images)
    images = [
        ImageResult(filename=each.filename, status=0, error=each.error or ErrorBody(**success_body()))
        if each.image is None
        else next(estimated)
        for each in inputs.images
    ]
    return result.model_copy(update={"images": images})


@routes.get("/capabilities")
async def capabilities(call: Call) -> Capabilities:
    """What can be estimated here, by which model, and what would fill the empty slots."""
    return await call.service(SDK).capabilities()


@routes.post("/liveness", consumes=CONSUMES)
async def liveness(call: Call) -> Reply:
    """Whether a living person was photographed. Answers 200010 as long as no model for it is installed."""
    await call.service(SDK).require_slot("liveness")
    return Reply()


@routes.post("/iso", consumes=CONSUMES)
async def iso(call: Call) -> Reply:
    """Face checks after ISO/IEC 19794-5. Answers 200010 as long as no model for them is installed."""
    await call.service(SDK).require_slot("iso")
    return Reply()
