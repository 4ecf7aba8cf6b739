"""Which descriptor versions there are, and which ones are used: every service knows, whether it runs models or not."""

from __future__ import annotations

from itertools import product

from libs.common import descriptors
from libs.common.descriptors import DEFAULT_BODY, DEFAULT_FACE, Kind, Version
from libs.common.errors import Code, MienError
from libs.common.settings import SdkSettings
from services.remote_sdk.models.library import Library, Model
from services.remote_sdk.models.manifest import BadManifest, DescriptorVersion

SLOTS: dict[str, Kind] = {"face_descriptor": "face", "body_descriptor": "body"}
"""The slots of descriptors."""


def wanted(settings: SdkSettings) -> dict[str, int]:
    """The version that fills each of the slots."""
    return {
        "face_descriptor": settings.face_version or DEFAULT_FACE,
        "body_descriptor": settings.body_version or DEFAULT_BODY,
    }


def preferring(model: Model, settings: SdkSettings) -> SdkSettings:
    """The settings of a deployment that uses this model before all others, on the CPU."""
    used = {f"{SLOTS[slot]}_version": own.version for slot in SLOTS if (own := _made(model, slot))}
    return settings.model_copy(update={"prefer": [model.name], "device": "cpu", **used})


def make_known(library: Library) -> None:
    """Register the versions that the operator's manifests describe; those of the project are known.

    Raises BadManifest when two models are said to make descriptors of one version.
    """
    makers: dict[int, str] = {}
    for model, slot in product(library.models.values(), SLOTS):
        own = _made(model, slot)
        if own is None:
            continue
        other = makers.setdefault(own.version, model.name)
        if other != model.name:
            raise BadManifest(
                f"models {other} and {model.name} both have descriptor.version {own.version}: descriptors of two "
                "models do not compare, each needs a number of its own"
            )
        if own.midpoint is not None and own.slope is not None:
            descriptors.register(
                Version(own.version, SLOTS[slot], model.name, own.length, own.midpoint, own.slope, own.source)
            )


def _made(model: Model, slot: str) -> DescriptorVersion | None:
    """The version of the descriptors with which a model fills a slot."""
    return model.manifest.descriptor if slot in model.manifest.slots else None


def use(settings: SdkSettings) -> None:
    """Let this process match by the settings' versions.

    Raises MienError ENGINE_FAILED when a manifest is wrong, DESCRIPTOR_VERSION_UNKNOWN when none describes a version,
    BAD_DESCRIPTOR when it is of another kind.
    """
    try:
        make_known(Library(settings.models_dir))
    except BadManifest as wrong:
        raise MienError(Code.ENGINE_FAILED, str(wrong)) from wrong
    for slot, number in wanted(settings).items():
        try:
            descriptors.use(SLOTS[slot], number)
        except MienError as unknown:
            name = f"MIEN_SDK_{SLOTS[slot].upper()}_VERSION"
            where = f"{settings.models_dir} (MIEN_MODELS_DIR)"
            raise MienError(unknown.code, f"{name}: {unknown.detail}; manifests of your own lie in {where}") from None
