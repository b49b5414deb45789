"""From a specification to a checked plan: its data, and every cell it stands for, also those of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from comparisons.dataset.behaviors import Behavior, Item, KnowledgeSet, Library
from comparisons.dataset.checks import leak_notes
from comparisons.dataset.items import Measure
from comparisons.dataset.packaged import ENGLISH, POCKET
from comparisons.dataset.splits import draw
from comparisons.evaluation.harness import HarnessSet, read_tasks
from comparisons.evaluation.registry import calling, evaluations_of
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import HARNESS, LAYER, Cell, Element, Specification, check_limit
from comparisons.method.interface import Method
from comparisons.method.registry import Registry
from comparisons.method.settings import STRENGTH, expand, parse_settings, parse_strength
from comparisons.method.stacks import Stack, check_stack, check_strengths, parse_stack, resolve, supporting
from comparisons.model.source import EMBEDDED, data_for
from comparisons.results.identity import BASELINE
from comparisons.running.dev import without_open_dev
from comparisons.running.sweeps import has_layer, swept_method
from comparisons.util.directions import Direction
from comparisons.util.errors import CompareError


def make_plan(spec: Specification) -> Plan:
    """Checks everything that can be checked without the model.

    Raises:
        CompareError: something is unknown, out of range or missing; nothing has been written.
    """
    spec.check()
    _check_doses(spec)
    registry = Registry(spec.plugins)
    if spec.controls:
        spec = _with_controls(spec, registry)
    variants = _variants(spec, registry)
    data = data_for(spec.data, spec.sources)
    library = Library.open(data)
    spec = replace(spec, behaviors=spec.behaviors or library.names, data=data)
    chosen = any(method.candidates(1) for variant in variants for method in variant.methods.values())
    behaviors, open_dev = {}, {}
    for name in spec.behaviors:
        whole = library.behavior(name)
        if spec.chooses_by("coherence"):
            whole, open_dev[name] = without_open_dev(spec, whole)
        behavior = whole.limited(spec.train_items, spec.test_items, spec.seed, letters=spec.measure == "letters")
        behaviors[name] = _with_dev(spec, behavior) if chosen or spec.select or spec.split == "dev" else behavior
    leaked = leak_notes(behaviors, spec.allow_leaks) if spec.split == "test" else ()
    needed = {need for variant in variants for method in variant.methods.values() for need in method.needs}
    probe = _probe(spec, library)
    neutral = probe.items if probe and "neutral" in needed else ()
    knowledge, knowledge_dev = _knowledge(spec, library, neutral)
    models = [source.name for source in spec.sources] if spec.more_models else [""]
    cells = tuple(cell for model in models for name in spec.behaviors for cell in _cells(spec, model, name, variants))
    side, given = _side(spec, library), spec.measure
    plan = Plan(spec, behaviors, knowledge, cells, (), side, knowledge_dev, open_dev, probe, leaked, given, neutral)
    plan = replace(plan, notes=_notes(plan))
    if spec.measure == "answers" or (spec.measure == "auto" and not plan.lettered):
        return _by(plan, "answers")
    _check(plan)
    return plan


def measuring(plan: Plan, measure: Measure) -> Plan:
    """The plan with a measure in the place of "auto".

    Raises:
        CompareError: something that was asked for can't be had with it.
    """
    return plan if plan.spec.measure == measure else _by(plan, measure)


def _by(plan: Plan, measure: Measure) -> Plan:
    spec, told = replace(plan.spec, measure=measure), tuple[str, ...]()
    if measure == "answers":
        spec, told = _without_letters(spec, plan.given_measure)
    plan = replace(plan, spec=spec)
    plan = replace(plan, notes=(*told, *_notes(plan)))
    _check(plan)
    return plan


def _check(plan: Plan) -> None:
    """Lets every evaluation look at the plan."""
    for name, evaluation in evaluations_of(plan.spec).items():
        with calling(name, evaluation):
            evaluation.check(plan)


def _without_letters(spec: Specification, typed: str) -> tuple[Specification, tuple[str, ...]]:
    """The specification of a run by texts, and what of it has no effect there.

    Raises:
        CompareError: what asks for letters and for texts was typed.
    """
    if spec.orders == "both":
        return spec, ()
    if typed == "answers":
        raise CompareError(
            "--orders is about lettered choices, and --measure answers shows none: leave one of them out."
        )
    return replace(spec, orders="both"), ("--orders has no effect: questions are asked by their answers' texts.",)


def _probe(spec: Specification, library: Library) -> KnowledgeSet | None:
    """The knowledge questions by which a model shows whether it can be asked by letters, the same in every run.

    Those of the data that are held out for choosing; where the data have none, those that come with the package.
    """
    packaged = POCKET if spec.model.is_embedded else ENGLISH
    known = library.knowledge("auto") or Library.open(packaged).knowledge("auto")
    return known and known.probe()


def _knowledge(
    spec: Specification, library: Library, neutral: Sequence[Item]
) -> tuple[KnowledgeSet | None, Sequence[Item]]:
    """The knowledge questions of the evaluation, and those held out to choose by, where something is chosen so.

    None of them are neutral prompts of a method, which would know them.
    """
    if spec.knowledge.startswith(HARNESS):
        if spec.select is not None or spec.match is not None:
            option = "--select" if spec.match is None else "--match"
            raise CompareError(f"{option} holds questions out, which the tasks of --knowledge lm_eval can't do.")
        return read_tasks(spec.knowledge, spec.knowledge_items, spec.seed), ()
    knowledge = library.knowledge(spec.knowledge)
    if knowledge is not None and neutral:
        knowledge = knowledge.without(neutral)
    limits = spec.limits
    if not spec.chooses_by("cost"):
        return knowledge and knowledge.limited(spec.knowledge_items, spec.seed), ()
    if knowledge is None:
        what = "--select limits" if limits else "--match takes"
        raise CompareError(f"{what} the knowledge cost, but none is measured: choose a set by --knowledge.")
    knowledge, dev = knowledge.with_dev(spec.seed)
    if limits:
        check_limit(limits["cost"], dev)
    return knowledge.limited(spec.knowledge_items, spec.seed), dev


def _check_doses(spec: Specification) -> None:
    """Raises CompareError where strengths can't be chosen as asked."""
    if spec.limits and not any(spec.strengths):
        raise CompareError("--select needs a strength above 0 to choose from.")
    if spec.wanted is not None and (spec.select is not None or spec.strengths != (1.0,) or spec.layers):
        what = "--select" if spec.select is not None else "a sweep" if spec.layers else "--strengths"
        raise CompareError(f"--match finds each method's strength itself: leave out {what}.")


def _with_controls(spec: Specification, registry: Registry) -> Specification:
    """The specification with every control that isn't a stack of it; a broken plugin's role is unknown, and it is none.

    A control extends the class of the method that it is a control of: what is set of the method is set of the control,
    unless the control has been given a value of its own.
    """
    added = [info for info in registry.describe() if info.role == "control" and info.name not in spec.stacks]
    methods = {name: registry.get(name) for name in spec.settings if name in registry.names()}
    settings = dict(spec.settings)
    for info in added:
        shared = {setting.name for setting in info.settings}
        for name, method in methods.items():
            if name != info.name and issubclass(registry.get(info.name), method):
                given = {key: values for key, values in spec.settings[name].items() if key in shared}
                settings[info.name] = {**given, **settings.get(info.name, {})}
    return replace(spec, stacks=(*spec.stacks, *(info.name for info in added)), settings=settings)


def _side(spec: Specification, library: Library) -> dict[str, Sequence[Item]]:
    """The test questions on which side effects are measured."""
    if not spec.side_effects:
        return {}
    if not (len(spec.behaviors) > 1 or set(library.names) - set(spec.behaviors)):
        raise CompareError(f"--side-effects: the data has no other behavior than {spec.behaviors[0]}: leave it out.")
    every = {name: library.behavior(name).limited(None, spec.test_items, spec.seed) for name in library.names}
    return {name: behavior.test for name, behavior in every.items()}


def _with_dev(spec: Specification, behavior: Behavior) -> Behavior:
    """Cuts the dev split; where it is what is evaluated, it is limited as the test questions are."""
    behavior_with_dev = behavior.with_dev(spec.seed)
    if spec.split == "test" or spec.test_items is None:
        return behavior_with_dev
    return replace(behavior_with_dev, dev=draw(behavior_with_dev.dev, spec.test_items, spec.seed))


@dataclass(frozen=True)
class Variant:
    """A stack with one value for each of its settings.

    Attributes:
        stack: the stack.
        methods: by name, with their settings.
        strengths: of the elements that don't take the run's.
        varied: what varies between the variants of the run: ("caa.layer", "2").
        swept: whether a sweep varies a layer of it.
    """

    stack: Stack
    methods: Mapping[str, Method]
    strengths: Mapping[str, float]
    varied: tuple[tuple[str, str], ...]
    swept: bool = False


def _variants(spec: Specification, registry: Registry) -> list[Variant]:
    """Every stack with every combination of the settings given for its methods."""
    stacks = [parse_stack(text) for text in spec.stacks]
    classes = {name: registry.get(name) for stack in stacks for name in stack.names}
    evaluations = evaluations_of(spec)
    for name, given in spec.settings.items():
        if name in classes and name in evaluations:
            raise CompareError(f"--set {name}.{next(iter(given))}: both a method and an evaluation are called {name}.")
        if name not in classes and name not in evaluations:
            wrong = f"--set {name}.{next(iter(given))}: no stack of this run has a method '{name}'"
            raise CompareError(f"{wrong}; it has {', '.join(sorted(classes))}.")
    for stack in stacks:
        check_stack(stack, classes)
    check_strengths(stacks, classes, [name for name, given in spec.settings.items() if STRENGTH in given])
    every = []
    for stack in stacks:
        swept = bool(spec.layers) and swept_method(stack, classes) is not None
        variants = [_variant(stack, classes, values) for values in expand(_values(spec, stack, classes))]
        every += [replace(variant, swept=swept) for variant in variants]
    return every


def _values(spec: Specification, stack: Stack, classes: Mapping[str, type[Method]]) -> dict[str, Sequence[str]]:
    """The values to combine, by "method.setting"; a single one too."""
    values: dict[str, Sequence[str]] = {}
    swept = swept_method(stack, classes) if spec.layers else None
    for name in stack.names:
        given = spec.settings.get(name, {})
        if name == swept:
            if LAYER in given:
                raise CompareError(f"--set {name}.{LAYER} is what the sweep of '{stack.label}' varies: use --layers.")
            values[f"{name}.{LAYER}"] = [str(layer) for layer in spec.layers]
        elif spec.layer != "auto" and has_layer(classes[name]):
            values[f"{name}.{LAYER}"] = [spec.layer]
        taken = STRENGTH if name not in supporting(stack, classes) else None
        values |= {f"{name}.{key}": texts for key, texts in given.items() if key != taken or not classes[name].dosed}
    return values


def _variant(stack: Stack, classes: Mapping[str, type[Method]], values: Mapping[str, str]) -> Variant:
    texts: dict[str, dict[str, str]] = {name: {} for name in stack.names}
    strengths = {}
    for key, text in values.items():
        name, _, setting = key.partition(".")
        if setting == STRENGTH:
            strengths[name] = parse_strength(classes[name], text, name)
        else:
            texts[name][setting] = text
    methods = {name: parse_settings(classes[name], given, name) for name, given in texts.items()}
    return Variant(stack, methods, strengths, tuple(values.items()))


def _cells(spec: Specification, model: str, behavior: str, variants: Sequence[Variant]) -> list[Cell]:
    """The baseline and every cell of one behavior on one model."""
    cells = [Cell(behavior, BASELINE, model=model)]
    for variant in variants:
        # A sweep's cells name their layer, also where there is one: the report reads it there.
        alone = not variant.swept and sum(v.stack.label == variant.stack.label for v in variants) == 1
        dosed = any(method.dosed for method in variant.methods.values())
        fixed = [element.direction for element in variant.stack.elements]
        # Where every element fixes its direction, the run's would only repeat the cell.
        for direction in spec.directions if None in fixed else fixed[-1:]:
            for strength in spec.strengths if dosed else (1.0,):
                cell = _cell(behavior, variant, direction, strength, () if alone else variant.varied)  # type: ignore[arg-type]
                cells.append(replace(cell, model=model, seeds=fit_seeds(spec, cell.elements)))
    return cells


def fit_seeds(spec: Specification, elements: Sequence[Element]) -> tuple[int, ...]:
    """The seeds by which a stack is fitted; none where nothing of it is drawn at random."""
    methods = [element.method for element in elements if element.method.fits != "never"]
    anew = spec.resample == "pairs"
    if not any(method.seeded or (anew and method.fit_passes()) for method in methods):
        return ()
    return tuple((spec.seed + step) % 2**32 for step in range(spec.seeds))


def _cell(
    behavior: str, variant: Variant, direction: Direction, strength: float, varied: tuple[tuple[str, str], ...]
) -> Cell:
    classes = {name: type(method) for name, method in variant.methods.items()}
    doses = resolve(variant.stack, classes, direction, strength, variant.strengths)
    fixed = {element.name for element in variant.stack.elements if element.direction is not None}
    elements = tuple(Element(d.name, variant.methods[d.name], d.direction, d.strength, d.name in fixed) for d in doses)
    return Cell(behavior, variant.stack.label, elements, direction, strength, varied)


def _notes(plan: Plan) -> tuple[str, ...]:
    asked = {name: plan.asked(name) for name in plan.behaviors}
    if plan.knowledge is not None and not isinstance(plan.knowledge, HarnessSet):
        asked[plan.knowledge.name] = plan.knowledge.items
    texts = plan.measure == "answers"
    counted = {name: sum(not (item.texts if texts else item.parsed) for item in items) for name, items in asked.items()}
    what = (
        "have no texts to compare; they are left out"
        if texts
        else "could not be parsed; they are evaluated as given, not swapped"
    )
    held = f"{len(plan.neutral)} knowledge questions are neutral prompts of a condition, and not asked."
    notes = [held] if plan.neutral else []
    notes += [f"{name}: {count} of {len(asked[name])} questions {what}." for name, count in counted.items() if count]
    if plan.spec.data == ENGLISH and any(source.is_embedded for source in plan.spec.sources):
        notes.insert(
            0, f"{EMBEDDED} was trained on a language of its own and knows no English: --data pocket asks in it."
        )
    return (*notes, *plan.leaks)
