"""Which descriptor versions there are, and which ones are used: every service knows, whether it runs models or not."""

from __future__ import annotations

from libs.common import descriptors
from libs.common.descriptors import DEFAULT_BODY, DEFAULT_FACE, Kind, Version
from libs.common.errors import Code, MienError
from libs.common.settings import SdkSettings
from services.remote_sdk.models.library import Library
from services.remote_sdk.models.manifest import BadManifest

SLOTS: dict[str, Kind] = {"face_descriptor": "face", "body_descriptor": "body"}
"""The slots of descriptors."""


def wanted(settings: SdkSettings) -> dict[str, int]:
    """The version that fills each of the slots."""
    return {
        "face_descriptor": settings.face_version or DEFAULT_FACE,
        "body_descriptor": settings.body_version or DEFAULT_BODY,
    }


def make_known(library: Library) -> None:
    """Register the version of every manifest that describes one.

    Raises MienError BAD_DESCRIPTOR when two mean different things by one number.
    """
    for model in library.models.values():
        own = model.manifest.descriptor
        if own is None:
            continue
        for slot in set(SLOTS).intersection(model.manifest.slots):
            descriptors.register(
                Version(own.version, SLOTS[slot], model.name, own.length, own.midpoint, own.slope, own.source)
            )


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
