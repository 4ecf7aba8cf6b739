"""Manifests, the folder of models, which model fills which slot, and adding and removing models."""

from __future__ import annotations

import hashlib
import resource
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from libs.common import descriptors
from libs.common.errors import Code, MienError
from libs.common.http.server import Servers
from libs.common.settings import SdkSettings
from libs.common.wire.sdk import SdkParams
from services.remote_sdk.catalogue import Catalogue
from services.remote_sdk.kinds import FILLS, RUNNABLE
from services.remote_sdk.loading import catalogue_of
from services.remote_sdk.models import install, versions
from services.remote_sdk.models.files import ModelCorrupt, ModelMissing
from services.remote_sdk.models.install import NotAdded
from services.remote_sdk.models.library import Library
from services.remote_sdk.models.manifest import BadManifest, read
from services.remote_sdk.models.verify import verify
from services.remote_sdk.slots import SLOTS
from tests.unit.remote_sdk.models import FOLDER, describe, library

WEIGHTS = b"not really weights"
NETWORK = {
    "networks.main": 'files = ["own.onnx"]\ninputs.x = { width = 8, height = 8 }',
    "networks.main.outputs": 'y = "of the test"',
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with an operator's model that only has to be described, not run."""
    return describe(tmp_path / "made", "ours", "emotions", "emotions", WEIGHTS, **NETWORK)


def refused(manifest: Path, change: tuple[str, str]) -> str:
    manifest.write_text(manifest.read_text().replace(*change))
    with pytest.raises(BadManifest) as wrong:
        read(manifest)
    return str(wrong.value)


def test_every_manifest_of_the_project_says_where_its_model_comes_from() -> None:
    models = Library(None).models.values()
    assert len(models) >= 30
    for model in models:
        manifest = model.manifest
        assert manifest.licence, model.name
        assert manifest.training_data, model.name
        assert manifest.upstream.startswith("https://") or not model.files, model.name
    assert all(model.manifest.kind in RUNNABLE for model in models if model.manifest.package)


def test_every_file_of_the_shared_folder_that_is_described_is_the_one_described() -> None:
    described = [model for model in library().models.values() if model.files and not model.manifest.package]
    assert len(described) >= 25
    for model in described:
        for file in model.files.values():
            assert file.read(), model.name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('kind = "', 'knid = "'), "knid"),
        (('path = "own.onnx"', 'path = "../own.onnx"'), "inside the models folder"),
        (('path = "own.onnx"', 'path = "/etc/passwd"'), "inside the models folder"),
        (('sha256 = "', 'sha256 = "x'), "sha256"),
        (("size_bytes = ", "size_bytes = -"), "size_bytes"),
        (('["own.onnx"]', '["other.onnx"]'), "no file named other.onnx"),
        (("height = 8 }", "height = 8, scale = [0.0] }"), "scale is not zero"),
        (("height = 8 }", "height = 8, mean = [1.0, 2.0] }"), "one per channel"),
        (("height = 8 }", "height = 8, mean = [nan] }"), "mean.0: Input should be a finite number"),
        (("height = 8 }", 'height = 8, scale = [2.0], dtype = "uint8" }'), "mean and scale are for float32"),
        (("width = 8, ", ""), "width and height stand together"),
        (('name = "ours"', 'name = "Our own/model"'), "manifest.name"),
        (("[[files]]", "[[files"), "manifest.toml"),
        (('slots = ["emotions"]', 'slots = ["emotion"]'), "slots.0: there is no slot emotion; there are"),
        (("preference = 50", 'preference = 50\nneeds = ["poses"]'), "needs.0: there is no slot poses; there are"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_by_file_and_field(own: Path, change: tuple[str, str], said: str) -> None:
    reason = refused(own / "manifest.toml", change)
    assert said in reason
    assert "manifest.toml" in reason


def test_nothing_is_read_whose_size_or_digest_is_another(own: Path) -> None:
    model = Library(own.parent).model("ours")
    assert model.read("own.onnx") == WEIGHTS
    (own / "own.onnx").write_bytes(WEIGHTS[:-1] + b"!")
    with pytest.raises(ModelCorrupt, match="has sha256"):
        model.read("own.onnx")
    (own / "own.onnx").write_bytes(WEIGHTS * 2)
    with pytest.raises(ModelCorrupt, match="over 18 bytes"):
        model.read("own.onnx")
    assert not model.installed
    (own / "own.onnx").unlink()
    with pytest.raises(ModelMissing, match="mien models add ours DIR"):
        model.read("own.onnx")


def test_two_models_of_one_name_are_refused(own: Path) -> None:
    shutil.copytree(own, own.parent / "again")
    with pytest.raises(BadManifest, match=r"two models are named ours, in .*again/manifest.toml and in "):
        Library(own.parent)


def test_a_digest_may_be_written_in_capitals(own: Path) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    manifest = own / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(digest, digest.upper()))
    assert Library(own.parent).model("ours").read("own.onnx") == WEIGHTS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("preference = 50", 'package = "torch"'), "manifest.package: files of your own lie beside their manifest"),
        (
            ("[networks.main.outputs]", "[descriptor]\nversion = 7001\nlength = 16\n[networks.main.outputs]"),
            "manifest.descriptor: a version of your own needs midpoint and slope",
        ),
    ],
)
def test_what_only_the_project_may_say_is_refused_by_file_and_field(
    own: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    manifest = own / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(*change))
    with pytest.raises(BadManifest, match=f"manifest.toml: {said}"):
        Library(own.parent)
    with pytest.raises(BadManifest, match=f"manifest.toml: {said}"):
        install.own_from_folder(own, tmp_path / "models")


# Slots


def test_without_optional_models_the_default_set_fills_its_slots(tmp_path: Path) -> None:
    chosen = {slot: model.name for slot, model in Catalogue(Library(tmp_path), SdkSettings()).chosen.items()}
    assert chosen == {
        "face_detection": "dlib-mmod",
        "landmarks5": "dlib-sp5",
        "face_descriptor": "dlib-resnet",
        "head_pose": "mien-pose-5pt",
        "quality": "mien-quality",
    }


def test_an_empty_slot_says_how_it_is_filled(tmp_path: Path) -> None:
    catalogue = Catalogue(Library(tmp_path), SdkSettings())
    estimators = catalogue.estimators()
    assert set(estimators) == set(SLOTS)
    assert "face-api 68 landmarks (MIT): mien models add face-api-landmarks68 DIR" in str(
        estimators["landmarks68"].missing
    )
    with pytest.raises(MienError, match="none is known that fits") as missing:
        catalogue.require(SdkParams(estimate_deepfake=1))
    assert missing.value.code is Code.ESTIMATOR_MISSING


def test_what_builds_on_others_uses_them_and_says_what_to_install(tmp_path: Path) -> None:
    library()
    every = catalogue_of(SdkSettings(models_dir=FOLDER))
    asked = SdkParams(estimate_gaze=1, estimate_mouth_attributes=1)
    pose, gaze, points = "head-pose-estimation-adas-0001", "gaze-estimation-adas-0002", "face-api-landmarks68"
    assert set(every.chosen_for(asked)) == {"yunet", pose, gaze, points}
    assert every.models_for(asked)["head_pose"] == f"{pose} FP16"
    assert every.models_for(asked)["mouth"] == f"{points} 1"

    install.from_folder(Library(tmp_path).model(gaze), FOLDER)
    alone = catalogue_of(SdkSettings(models_dir=tmp_path))
    assert set(alone.chosen_for(SdkParams(estimate_gaze=1))) == {"dlib-mmod", "mien-pose-5pt", gaze}
    with pytest.raises(MienError, match=r"estimate_mouth_attributes: .*models add face-api-landmarks68 DIR") as lost:
        alone.require(asked)
    assert lost.value.code is Code.ESTIMATOR_MISSING
    assert "estimate_gaze" not in lost.value.detail


def test_a_model_whose_needs_are_not_met_says_which(tmp_path: Path) -> None:
    folder = describe(tmp_path / "made", "ours", "omz-gaze", "gaze", WEIGHTS, **NETWORK)
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("preference = 50", 'preference = 50\nneeds = ["mouth"]'))
    with pytest.raises(MienError, match=r"\(ours: it needs mouth: no model is installed for mouth; what"):
        catalogue_of(SdkSettings(models_dir=tmp_path)).require(SdkParams(estimate_gaze=1))


def needing(folder: Path, name: str, slot: str, *needs: str) -> None:
    """An operator's model that fills a slot and needs others."""
    manifest = describe(folder / name, name, KIND_OF[slot], slot, WEIGHTS, **NETWORK) / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("preference = 50", f"preference = 50\nneeds = {list(needs)}"))


KIND_OF = {"gaze": "omz-gaze", "eyes": "omz-eyes", "head_pose": "omz-head-pose", "landmarks68": "landmarks68"}


def test_models_that_need_each_other_are_a_refusal_to_start(tmp_path: Path) -> None:
    needing(tmp_path, "one", "gaze", "eyes", "head_pose")
    needing(tmp_path, "two", "eyes", "gaze")
    with pytest.raises(MienError, match=r"cannot start: these models need each other.* (one needs two|two needs one)"):
        catalogue_of(SdkSettings(models_dir=tmp_path))


def test_what_is_needed_is_needed_all_the_way_down(tmp_path: Path) -> None:
    needing(tmp_path, "looks", "gaze", "eyes")
    needing(tmp_path, "lids", "eyes", "landmarks68")
    asked = SdkParams(estimate_gaze=1)
    with pytest.raises(MienError, match=r"it needs eyes: .*it needs landmarks68: no model is installed") as lost:
        catalogue_of(SdkSettings(models_dir=tmp_path)).require(asked)
    assert lost.value.code is Code.ESTIMATOR_MISSING

    needing(tmp_path, "points", "landmarks68")
    catalogue = catalogue_of(SdkSettings(models_dir=tmp_path))
    catalogue.require(asked)
    assert set(catalogue.chosen_for(asked)) == {"dlib-mmod", "looks", "lids", "points"}


def test_a_model_that_lacks_something_leaves_its_slot_to_the_next_unless_it_is_preferred(tmp_path: Path) -> None:
    needing(tmp_path, "poses", "head_pose", "landmarks68")
    assert catalogue_of(SdkSettings(models_dir=tmp_path)).chosen["head_pose"].name == "mien-pose-5pt"
    with pytest.raises(MienError, match="poses is preferred: it needs landmarks68, for which no model is installed"):
        catalogue_of(SdkSettings(models_dir=tmp_path, prefer=["poses"]))


def test_a_slot_that_a_kind_does_not_fill_is_a_refusal_to_start(tmp_path: Path) -> None:
    assert FILLS.keys() == RUNNABLE
    describe(tmp_path / "made", "ours", "emotions", "liveness", WEIGHTS, **NETWORK)
    with pytest.raises(MienError, match="cannot start: model ours: kind emotions does not fill the slot liveness"):
        catalogue_of(SdkSettings(models_dir=tmp_path))


@pytest.mark.parametrize(
    ("slot", "options", "said"),
    [
        ("body_detection", 'classes = ["pedestrian"]', "needs person among options.classes"),
        ("people_count", 'classes = ["person", "dog"]\nwanted = ["dog"]', "needs person among"),
        ("vehicle_detection", "threshold = 0.4", "needs bicycle or bus or car or motorbike or truck among"),
        ("body_detection", "classes = 80", "needs person among"),
        ("body_detection", 'classes = ["dog", "person"]', None),
        ("vehicle_detection", 'classes = ["car"]', None),
        ("objects", 'classes = ["pedestrian"]', None),
    ],
)
def test_a_detector_that_names_nothing_its_slot_looks_for_is_a_refusal_to_start(
    tmp_path: Path, slot: str, options: str, said: str | None
) -> None:
    describe(tmp_path / "made", "ours", "yolo", slot, WEIGHTS, **NETWORK, options=options)
    if said is None:
        assert catalogue_of(SdkSettings(models_dir=tmp_path)).chosen[slot].name == "ours"
    else:
        with pytest.raises(MienError, match=f"model ours: the slot {slot} {said}"):
            catalogue_of(SdkSettings(models_dir=tmp_path))


def test_an_installed_model_that_fills_no_slot_says_why(tmp_path: Path) -> None:
    describe(tmp_path / "made", "ours", "emotion", "emotions", WEIGHTS, **NETWORK)
    spare = describe(tmp_path / "spare", "spare", "aizoo-mask", "mask", WEIGHTS, **NETWORK) / "manifest.toml"
    spare.write_text(spare.read_text().replace("preference = 50", "preference = -1"))
    catalogue = catalogue_of(SdkSettings(models_dir=tmp_path))
    missing = {slot: estimator.missing or "" for slot, estimator in catalogue.estimators().items()}
    assert "can be used (ours: this release does not run kind emotion); what fits: face-api" in missing["emotions"]
    assert "(spare: it is used only where MIEN_SDK_PREFER names it); what fits: " in missing["mask"]
    states = {model.name: catalogue.state(model) for model in catalogue.library.models.values()}
    assert states["ours"] == "not usable: this release does not run kind emotion"
    assert (states["spare"], states["dlib-sp5"]) == ("installed", "in use")
    assert states["yunet"] == "available: mien models add yunet"


def test_installed_models_take_over_and_a_preferred_one_before_all() -> None:
    library()
    usual = catalogue_of(SdkSettings(models_dir=FOLDER)).chosen
    assert [usual[slot].name for slot in ("face_detection", "landmarks5", "head_pose", "face_descriptor")] == [
        "yunet",
        "yunet",
        "head-pose-estimation-adas-0001",
        "dlib-resnet",
    ]
    wished = catalogue_of(SdkSettings(models_dir=FOLDER, prefer=["ultraface-320"], face_version=1002)).chosen
    assert [wished[slot].name for slot in ("face_detection", "landmarks5", "face_descriptor")] == [
        "ultraface-320",
        "dlib-sp5",  # YuNet's points are those of faces that YuNet found
        "mobilefacenet",
    ]


@pytest.mark.parametrize(
    ("prefer", "said"),
    [("no-such-model", "no model is named"), ("ours", "this release does not run kind of-another-release")],
)
def test_a_preference_that_cannot_be_met_is_a_refusal_to_start(tmp_path: Path, prefer: str, said: str) -> None:
    describe(tmp_path / "made", "ours", "of-another-release", "emotions", WEIGHTS, **NETWORK)
    with pytest.raises(MienError, match=f"cannot start: .*{said}"):
        catalogue_of(SdkSettings(models_dir=tmp_path, prefer=[prefer]))


OWN_VERSION = {**NETWORK, "descriptor": "version = 7001\nlength = 16\nmidpoint = 0.8\nslope = 12.0"}


@pytest.fixture
def no_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers and uses is forgotten after it."""
    monkeypatch.setattr(descriptors, "VERSIONS", dict(descriptors.VERSIONS))
    monkeypatch.setattr(descriptors, "_current", dict(descriptors._current))


@pytest.mark.usefixtures("no_other_versions")
def test_the_version_that_is_matched_chooses_the_model_that_describes(tmp_path: Path) -> None:
    describe(tmp_path / "made", "ours", "arcface", "face_descriptor", WEIGHTS, **OWN_VERSION)

    def describer(**settings: Any) -> str:
        return catalogue_of(SdkSettings(models_dir=tmp_path, **settings)).required("face_descriptor").name

    assert describer() == "dlib-resnet", "a model that is only installed must not make galleries worthless"
    assert describer(face_version=7001) == "ours"
    with pytest.raises(MienError, match="version 7001, and 1001 is used \\(MIEN_SDK_FACE_VERSION\\)"):
        describer(prefer=["ours"])
    with pytest.raises(ModelMissing, match=r"no model is installed for face_descriptor; .*MobileFaceNet"):
        describer(face_version=1002)


@pytest.mark.usefixtures("no_other_versions")
def test_every_process_matches_by_the_version_that_a_manifest_describes(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="MIEN_SDK_FACE_VERSION: descriptor version 7001 is not registered"):
        versions.use(SdkSettings(models_dir=tmp_path, face_version=7001))
    describe(tmp_path / "made", "ours", "arcface", "face_descriptor", WEIGHTS, **OWN_VERSION)
    versions.use(SdkSettings(models_dir=tmp_path, face_version=7001))
    assert (descriptors.current("face"), descriptors.current("body")) == (7001, descriptors.DEFAULT_BODY)
    assert descriptors.version_of(7001).distance(0.5) == pytest.approx(0.8)
    with pytest.raises(MienError, match="MIEN_SDK_BODY_VERSION: descriptor version 7001 is not of the kind body"):
        versions.use(SdkSettings(models_dir=tmp_path, body_version=7001))


@pytest.mark.usefixtures("no_other_versions")
def test_two_models_that_describe_one_version_are_refused_by_every_process(tmp_path: Path) -> None:
    describe(tmp_path / "one", "one", "arcface", "face_descriptor", WEIGHTS, **OWN_VERSION)
    describe(tmp_path / "two", "two", "arcface", "face_descriptor", WEIGHTS, **OWN_VERSION)
    said = "models one and two both have descriptor.version 7001"
    with pytest.raises(MienError, match=said):
        catalogue_of(SdkSettings(models_dir=tmp_path))
    with pytest.raises(MienError, match=said):
        versions.use(SdkSettings(models_dir=tmp_path))
    dlibs = OWN_VERSION["descriptor"].replace("7001", "1001").replace("16", "128")
    describe(tmp_path / "two", "two", "arcface", "face_descriptor", WEIGHTS, **{**OWN_VERSION, "descriptor": dlibs})
    with pytest.raises(MienError, match=r"models dlib-resnet and two both have descriptor.version 1001"):
        catalogue_of(SdkSettings(models_dir=tmp_path))


def test_a_file_that_no_engine_opens_leaves_its_slot_empty_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    library()
    monkeypatch.setattr("services.remote_sdk.engines.choose._has", lambda package: False)
    catalogue = catalogue_of(SdkSettings(models_dir=FOLDER))
    assert catalogue.chosen["face_detection"].name == "dlib-mmod"
    assert "pip install 'mien[openvino]'" in str(catalogue.estimators()["emotions"].missing)


def test_a_sensitive_estimator_has_to_be_allowed_though_its_model_is_there() -> None:
    library()
    asked = SdkParams(estimate_emotions=1)
    with pytest.raises(MienError, match="MIEN_SDK_ALLOW=emotion") as refusal:
        catalogue_of(SdkSettings(models_dir=FOLDER)).require(asked)
    assert refusal.value.code is Code.ESTIMATOR_REFUSED
    catalogue_of(SdkSettings(models_dir=FOLDER, allow=["emotion"])).require(asked)


# Adding and removing


def test_a_model_is_added_from_a_folder_and_removed(tmp_path: Path) -> None:
    library()
    model = Library(tmp_path).model("yunet")
    assert not model.installed
    install.from_folder(model, FOLDER / "yunet")  # not laid out as the models folder
    install.from_folder(model, FOLDER)
    assert model.installed
    install.remove(model, Library(tmp_path))
    assert not model.installed
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_searched_for_the_models_of_which_it_has_all_files(tmp_path: Path) -> None:
    library()
    source = tmp_path / "usb"
    shutil.copytree(FOLDER / "yunet", source / "yunet")
    shutil.copytree(FOLDER / "ultraface", source / "ultraface")
    (source / "yunet" / "notes.txt").write_text("beside it")
    (source / "mobilefacenet").mkdir()
    known = install.known_in(source, Library(tmp_path / "models"))
    assert [model.name for model in known] == ["ultraface-320", "ultraface-640", "yunet"]
    assert [model.name for model in install.known_in(source / "yunet", Library(None))] == ["yunet"]


def test_a_damaged_file_is_not_added(tmp_path: Path) -> None:
    library()
    damaged = (FOLDER / "yunet" / "yunet_n_dynamic.onnx").read_bytes()[:-1] + b"\0"
    (tmp_path / "yunet_n_dynamic.onnx").write_bytes(damaged)
    model = Library(tmp_path / "models").model("yunet")
    with pytest.raises(ModelCorrupt):
        install.from_folder(model, tmp_path)
    assert not (tmp_path / "models").exists()


def test_a_file_that_was_damaged_where_it_lies_is_added_again(tmp_path: Path) -> None:
    library()
    model = Library(tmp_path).model("yunet")
    install.from_folder(model, FOLDER)
    [file] = model.files.values()
    file.path.write_bytes(file.path.read_bytes()[:-1] + b"\0")
    assert not file.intact
    install.from_folder(model, FOLDER)
    assert file.intact


def test_a_model_of_ones_own_is_added_once_and_removed_with_its_manifest(own: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert install.own_from_folder(own, models) == install.own_from_folder(own, models) == "ours"
    installed = Library(models)
    assert Catalogue(installed, SdkSettings()).chosen["emotions"].name == "ours"
    install.remove(installed.model("ours"), installed)
    assert not list(models.rglob("*"))


def test_an_added_model_is_never_changed_by_another_one(own: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    install.own_from_folder(own, models)
    manifest = own / "manifest.toml"
    described = manifest.read_text()

    def refusal(old: str, new: str) -> str:
        manifest.write_text(described.replace(old, new))
        with pytest.raises(NotAdded) as refused:
            install.own_from_folder(own, models)
        return str(refused.value)

    assert "version 1, with another manifest: mien models remove ours first" in refusal(
        'version = "1"', 'version = "0"'
    )
    assert "choose another name" in refusal('name = "ours"', 'name = "yunet"')
    (own / "liveness_v2_scale27.onnx").write_bytes(WEIGHTS)
    described = described.replace("own.onnx", "liveness_v2_scale27.onnx")
    assert "is a file of model minifasnet" in refusal('name = "ours"', 'name = "liveness"')
    assert Library(models).model("ours").manifest.version == "1"


def test_what_cannot_be_written_names_the_file_and_leaves_nothing_of_it(own: Path, tmp_path: Path) -> None:
    weights = bytes(100_000)
    describe(own, "ours", "emotions", "emotions", weights, **NETWORK)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(weights) // 2, usual[1]))  # fails midway, as a full disk does
    try:
        with pytest.raises(NotAdded, match=r"models/ours/own.onnx \(100000 bytes\) cannot be written: File too large"):
            install.own_from_folder(own, tmp_path / "models")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotAdded, match=r"file/ours/own.onnx .* cannot be written: Not a directory"):
        install.own_from_folder(own, tmp_path / "file")


@pytest.mark.parametrize("name", ["dlib-mmod", "mien-quality"])
def test_what_comes_with_packages_is_neither_added_nor_removed(tmp_path: Path, name: str) -> None:
    library_ = Library(tmp_path)
    with pytest.raises(NotAdded):
        install.remove(library_.model(name), library_)
    with pytest.raises(NotAdded):
        install.from_folder(library_.model(name), tmp_path)


async def test_only_what_is_asked_for_comes_from_upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server beside the test stands for upstream; it speaks http, which real addresses may not."""
    answers = {"/good": WEIGHTS, "/long": WEIGHTS * 2, "/other": WEIGHTS[::-1]}
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        body = answers.get(request.path)
        return web.Response(status=404) if body is None else web.Response(body=body)

    app.router.add_get("/{name}", answer)
    servers = Servers()
    port = await servers.start(app, "127.0.0.1", 0)
    steps: list[tuple[str, int, int]] = []
    async with aiohttp.ClientSession() as session:

        async def fetched(path: str) -> bytes:
            url = f"http://127.0.0.1:{port}{path}"
            return await install._fetched(url, len(WEIGHTS), lambda *step: steps.append(step), session)

        with pytest.raises(NotAdded, match="only addresses with https:// are fetched"):
            await fetched("/good")
        monkeypatch.setattr(install, "SCHEME", "http")
        assert await fetched("/good") == WEIGHTS
        assert steps[-1] == ("good", len(WEIGHTS), len(WEIGHTS))
        for path, said in (("/long", "over 18 bytes"), ("/missing", "answered 404")):
            with pytest.raises(NotAdded, match=said):
                await fetched(path)
        lost = Library(tmp_path).model("minifasnet")
        with pytest.raises(NotAdded, match="add it from a folder"):
            await install.from_upstream(lost, lambda *_: None, session)
    await servers.stop()


# Verification


@pytest.mark.parametrize("name", ["dlib-mmod", "dlib-sp5", "dlib-resnet", "yunet", "minifasnet", "glasses-mobilenetv3"])
def test_an_installed_model_computes_what_its_manifest_stores(name: str) -> None:
    verdict = verify(library().model(name))
    assert verdict.expected
    assert verdict.good
    assert verdict.worst < 1e-3


def test_another_result_than_the_stored_one_is_noticed() -> None:
    model = library().model("face-api-age-gender")
    check = model.manifest.check
    assert check
    wrong = check.model_copy(update={"outputs": {"main": {"age": [99.0]}}})
    lied = type(model)(model.manifest.model_copy(update={"check": wrong}), model.files)
    assert not verify(lied).good
    lost = check.model_copy(update={"outputs": {"main": {"no-such-output": [1.0]}}})
    assert not verify(type(model)(model.manifest.model_copy(update={"check": lost}), model.files)).good
