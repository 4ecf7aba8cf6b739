"""Which installed model fills each slot, and what would fill the empty ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from libs.common.errors import Code, MienError
from libs.common.settings import SdkSettings
from libs.common.wire.sdk import Estimator, SdkParams
from services.remote_sdk.engines import choose
from services.remote_sdk.engines.port import Where
from services.remote_sdk.kinds import FILLS, LANDMARKS, LOOKED_FOR, MEASURES, NAMES_CLASSES, RUNNABLE
from services.remote_sdk.models import versions
from services.remote_sdk.models.files import ModelMissing
from services.remote_sdk.models.library import Library, Model
from services.remote_sdk.models.manifest import BadManifest
from services.remote_sdk.slots import SLOTS, WELCOME, asked

DETECTION = "face_detection"


class Catalogue:
    """What this deployment can estimate."""

    def __init__(self, library: Library, settings: SdkSettings) -> None:
        """What ``library`` has, as the settings allow and prefer it.

        Raises ModelMissing when a model that is preferred is not installed, or cannot be run here; BadManifest when one
        claims a slot that its kind does not fill, or models need each other.
        """
        check_claims(library)
        self.library = library
        self._allow = set(settings.allow)
        self._engine = settings.engine
        self._versions = versions.wanted(settings)
        self._preferred = {name: -rank for rank, name in enumerate(settings.prefer)}
        for name in self._preferred:
            if reason := self.unusable(library.model(name)):
                raise ModelMissing(f"model {name} is preferred: {reason}")
        self.chosen = self._choose()

    def _choose(self) -> dict[str, Model]:
        """The model of every slot that has one: of those whose needs are met, the most wanted."""
        lacking: set[str] = set()
        while True:
            chosen = self._filled(lacking)
            _check_order(chosen)
            unmet = {model.name for model in chosen.values() if not chosen.keys() >= set(model.manifest.needs)}
            if not unmet:
                return chosen
            if wished := sorted(unmet & self._preferred.keys()):
                needs = ", ".join(set(self.library.model(wished[0]).manifest.needs) - chosen.keys())
                raise ModelMissing(f"model {wished[0]} is preferred: it needs {needs}, for which no model is installed")
            lacking |= unmet

    def _filled(self, lacking: set[str]) -> dict[str, Model]:
        """The most wanted model of every slot, without those that are ``lacking`` something. A detector's points are
        those of its own faces, so that it fills another slot only where it fills that of the detector."""
        chosen: dict[str, Model] = {}
        for slot in SLOTS:  # face_detection is the first
            for model in self._candidates(slot):
                rival = slot != DETECTION and DETECTION in model.manifest.slots and model is not chosen.get(DETECTION)
                if model.name not in lacking and not rival and not self.unusable(model) and self._eligible(model):
                    chosen[slot] = model
                    break
        return chosen

    def _candidates(self, slot: str) -> list[Model]:
        """The models that could fill a slot, the most wanted first."""
        fitting = [model for model in self.library.models.values() if slot in model.manifest.slots]
        return sorted(fitting, key=lambda model: (self._rank(model), model.manifest.preference), reverse=True)

    def _rank(self, model: Model) -> float:
        return self._preferred.get(model.name, float("-inf"))

    def _eligible(self, model: Model) -> bool:
        return model.manifest.preference >= 0 or model.name in self._preferred

    def state(self, model: Model) -> str:
        """What a model does here, as one line for people: a word or two, and where it does nothing why."""
        if model.name in self.used:
            return "in use"
        if not model.installed:
            return f"available: {model.get}"
        reason = self.unusable(model)
        return f"not usable: {reason}" if reason else "installed"

    def unusable(self, model: Model) -> str | None:
        """Why a model cannot be used here; None when it can."""
        if not model.installed:
            return f"not installed: {model.get}"
        if model.manifest.kind not in RUNNABLE:
            return f"this release does not run kind {model.manifest.kind}"
        if wrong := self._other_version(model):
            return wrong
        for network in model.manifest.networks.values():
            if not choose.readable(network.files[0], self._engine):
                return f"nothing here runs {network.files[0]}: {choose.hint(network.files[0])}"
        return None

    def _other_version(self, model: Model) -> str | None:
        """Why a model's descriptors cannot be matched here; None when they can, or it makes none."""
        described = model.manifest.descriptor
        for slot, wanted in self._versions.items():
            if described and slot in model.manifest.slots and described.version != wanted:
                setting = f"MIEN_SDK_{versions.SLOTS[slot].upper()}_VERSION"
                return f"its descriptors are of version {described.version}, and {wanted} is used ({setting})"
        return None

    def estimators(self, where: Callable[[str], Where | None] = lambda _: None) -> dict[str, Estimator]:
        """Every slot by name, filled or not. ``where`` the model of a name runs, once that is known."""
        return {name: self._estimator(name, where) for name in SLOTS}

    def require(self, params: SdkParams) -> None:
        """Raises ESTIMATOR_REFUSED (403) when the parameters ask for a sensitive estimator that is not allowed,
        ESTIMATOR_MISSING naming every parameter whose slot is empty."""
        missing = []
        for flag, name in asked(params):
            self._check_allowed(flag, name)
            if name not in self.chosen:
                missing.append(f"{flag}: {self._missing(name)}")
        if missing:
            raise MienError(Code.ESTIMATOR_MISSING, "; ".join(missing))

    def models_for(self, params: SdkParams) -> dict[str, str]:
        """The model and version behind each slot these parameters use, by slot."""
        return {slot: f"{model.name} {model.manifest.version}" for slot, model in self._used(params).items()}

    def _check_allowed(self, flag: str, name: str) -> None:
        word = SLOTS[name].sensitive
        if word and word not in self._allow:
            raise MienError(
                Code.ESTIMATOR_REFUSED,
                f"{flag}: {name} is sensitive; the operator has to allow it (MIEN_SDK_ALLOW={word})",
            )

    def _missing(self, slot: str) -> str:
        """What an empty slot lacks, and how to have it."""
        candidates = self._candidates(slot)
        suited = [model for model in candidates if not self._other_version(model)]
        here = [f"{model.name}: {self._obstacle(model)}" for model in suited if model.installed]
        runnable = [model.manifest for model in suited if model.manifest.kind in RUNNABLE and not model.installed]
        fits = [f"{each.title} ({each.licence}): {self.library.model(each.name).get}" for each in runnable]
        if here or fits:
            return (
                f"no model is installed for {slot}"
                + (f" that can be used ({'; '.join(here)})" if here else "")
                + (f"; what fits: {' or '.join(fits)}" if fits else "")
            )
        if others := [reason for model in candidates if (reason := self._other_version(model))]:
            return f"no model is known for {slot} of the version that is used: {'; '.join(others)}"
        if candidates:
            names = ", ".join(f"{model.manifest.title} ({model.manifest.licence})" for model in candidates)
            return f"no model is installed for {slot}, and this release cannot run what is known to fit: {names}"
        return f"no model is installed for {slot}, and none is known that fits"

    def _obstacle(self, model: Model) -> str:
        """Why an installed model does not fill an empty slot."""
        if reason := self.unusable(model):
            return reason
        if lost := [need for need in model.manifest.needs if need not in self.chosen]:
            return "; ".join(f"it needs {need}: {self._missing(need)}" for need in lost)
        return "it is used only where MIEN_SDK_PREFER names it"

    def _estimator(self, slot: str, where_of: Callable[[str], Where | None]) -> Estimator:
        model = self.chosen.get(slot)
        if model is None:
            return Estimator(name=slot, available=False, missing=self._missing(slot))
        manifest, where = model.manifest, where_of(model.name)
        return Estimator(
            name=slot,
            available=True,
            model=manifest.name,
            version=manifest.version,
            licence=manifest.licence,
            source=manifest.upstream,
            warnings=[*manifest.warnings, *([f"training data: {manifest.training_data}"] if manifest.files else [])],
            descriptor_version=manifest.descriptor.version if manifest.descriptor else None,
            provider=where.provider if where else None,
            device=where.device if where else None,
            precision=where.precision if where else None,
        )

    @property
    def used(self) -> set[str]:
        """The names of the models that are in use, dlib's five points among them, by which every face is aligned."""
        names = {model.name for model in self.chosen.values()}
        return names | {model.name for model in self.library.installed() if model.manifest.kind in LANDMARKS}

    def chosen_for(self, params: SdkParams) -> list[str]:
        """The names of the models that these parameters use, each once."""
        return list({model.name: None for model in self._used(params).values()})

    def _used(self, params: SdkParams) -> dict[str, Model]:
        """The models that these parameters use, by their slots, and those that these in turn need."""
        slots = {slot for _, slot in _slots(params) if slot in self.chosen}
        waiting = list(slots)
        while waiting:
            more = _needs(self.chosen[waiting.pop()]) - slots
            slots |= more
            waiting += more
        return {slot: model for slot, model in self.chosen.items() if slot in slots}

    def needed_by(self, name: str) -> list[str]:
        """The names of the models whose findings a model builds on."""
        return [self.chosen[slot].name for slot in _needs(self.library.model(name))]

    def required(self, slot: str) -> Model:
        """The model of a slot without which nothing works. Raises ModelMissing."""
        if slot not in self.chosen:
            raise ModelMissing(self._missing(slot))
        return self.chosen[slot]


def _slots(params: SdkParams) -> Iterator[tuple[str, str]]:
    """The parameters that are set, each with a slot whose model they use if there is one."""
    yield from asked(params)
    yield from ((flag, slot) for flag, slot in WELCOME.items() if getattr(params, flag))


def _needs(model: Model) -> set[str]:
    """The slots that a model builds on. What is measured builds on dlib's five points, whoever fills that slot."""
    return set() if model.manifest.kind in MEASURES else set(model.manifest.needs)


def check_claims(library: Library) -> None:
    """Raises BadManifest for a model whose kind, or whose classes, do not fill a slot that it claims: nothing would be
    found."""
    for model in library.models.values():
        kind, slots = model.manifest.kind, set(model.manifest.slots)
        if wrong := slots - FILLS.get(kind, slots):
            raise BadManifest(f"model {model.name}: kind {kind} does not fill the slot {', '.join(sorted(wrong))}")
        if kind in NAMES_CLASSES:
            _check_classes(model)


def _check_classes(model: Model) -> None:
    options = model.manifest.options
    classes = options.get("wanted", options.get("classes"))
    for slot in LOOKED_FOR.keys() & set(model.manifest.slots):
        if not isinstance(classes, list) or LOOKED_FOR[slot].isdisjoint(classes):
            words = " or ".join(sorted(LOOKED_FOR[slot]))
            raise BadManifest(f"model {model.name}: the slot {slot} needs {words} among options.classes (and .wanted)")


def _check_order(chosen: Mapping[str, Model]) -> None:
    """Raises BadManifest for models that need each other: none of them could be the first to run."""
    order = TopologicalSorter(
        {model.name: {chosen[slot].name for slot in _needs(model) & chosen.keys()} for model in chosen.values()}
    )
    try:
        order.prepare()
    except CycleError as cycle:
        names = reversed(cycle.args[1])
        raise BadManifest(f"these models need each other, by their manifests: {' needs '.join(names)}") from None
