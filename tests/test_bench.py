"""The bench: contenders agree, tokens follow the formulas, every row is there, a wrong number shows."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.bench.contenders import PLAIN_LOOP, library_loop, run_engine
from comparisons.bench.cost import begin_alike, floor_seconds, matrix_rate, needed
from comparisons.bench.figures import spread, write_figures
from comparisons.bench.measure import Row, measure
from comparisons.bench.memory import peak_memory
from comparisons.bench.results import TARGETS, Results, bench
from comparisons.bench.subjects import STANDARD, Shape, make_items, random_llama
from comparisons.bench.works import MULTIPLIERS, QUICK, WORKS, Sizes, Work, for_subject, make_works
from comparisons.cli import execute as run
from comparisons.cli.bench import show
from comparisons.dataset.behaviors import Presentation
from comparisons.engine import choices
from comparisons.engine.choices import ChoiceLogps
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from tests.tiny import tiny_lm

SMALL = Sizes(
    prompts=3,
    tokens=40,
    answer_tokens=6,
    own_tokens=7,
    pairs=4,
    knowledge=6,
    knowledge_timed=3,
    answers=2,
    new_tokens=4,
    passes=5,
    repeats=2,
)
CONTENDERS = ["engine", "plain loop", "plain passes", "steering-vectors"]


@pytest.fixture(scope="module", autouse=True)
def quick_machine() -> Iterator[None]:
    """One thread, and no more than a moment for the matrix rate."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("comparisons.bench.cost.RATE_SECONDS", 0.01)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lm() -> LM:
    """A random Llama of three blocks; its weights are large, so that steering shows."""
    return random_llama(Shape(3, 64, 128, 4, 400, 256, spread=0.15), STANDARD)


@pytest.fixture(scope="module")
def results(lm: LM) -> Results:
    return bench(lm, WORKS, SMALL)


def of(results: Results, work: str, contender: str) -> Row:
    return next(row for row in results.rows if (row.work, row.contender) == (work, contender))


def test_every_work_has_a_row_for_every_contender(results: Results) -> None:
    assert [(row.work, row.contender) for row in results.rows] == [(w, c) for w in WORKS for c in CONTENDERS]
    if library_loop() is None:
        absent = of(results, "sweep", "steering-vectors")
        assert (absent.seconds, absent.timed) == (None, "not installed")


@pytest.mark.parametrize("work", WORKS)
def test_the_contenders_agree(results: Results, work: str) -> None:
    difference = of(results, work, "engine").difference
    assert difference is not None and difference <= 1e-5


def test_steering_moves_the_numbers_that_agree(lm: LM) -> None:
    (sweep,) = make_works(lm, ["sweep"], SMALL)
    values, _ = run_engine(lm, sweep)
    assert np.ptp(values, axis=1).min() > 1e-3


@pytest.mark.parametrize("name", WORKS)
def test_tokens_run_follow_the_formulas(lm: LM, results: Results, name: str) -> None:
    (work,) = make_works(lm, [name], SMALL)
    prompts = work.given_answers(lm) if work.kind in ("texts", "kl") else work.prompts(lm)
    assert [len(prompt.ids) for prompt in prompts] == [SMALL.tokens] * len(work.questions)
    tokens = {
        "extraction": 4 * 2 * 41,
        "sweep": 3 * 27 * 40,
        "grid": 6 * 10 * 40,
        "knowledge": 6 * 9 * 40,
        "answers": 3 * 27 * 2 * 46,
        "kl": 3 * 9 * 47,
        # 39 prompt tokens give the first of four new ones.
        "generation": 2 * 9 * (39 + 3),
    }
    assert of(results, name, "plain loop").tokens == tokens[name]
    ran = of(results, name, "engine").tokens
    assert ran is not None
    # The engine counts a token that joins halfway up as half a token, rounded once a pass.
    rounding = 0.5 * len(work.questions)
    assert (needed(lm, work).tokens - rounding) * work.scale <= ran <= packed_tokens(lm, work) * work.scale


def packed_tokens(lm: LM, work: Work) -> int:
    """Tokens of prompts and branches where every branch runs through all blocks and no two prompts share tokens.

    The engine runs no more than these, but for padding.
    """
    branches = len(work.members) + work.has_plain
    if work.kind == "answers":
        return sum(len(ids) - 1 + branches * work.new_tokens for ids in work.answer_prompts(lm))
    if work.kind in ("texts", "kl"):
        given = work.given_answers(lm)
        return sum(len(each.ids) - 1 + branches * sum(len(t) - len(each.ids) for t in each.texts) for each in given)
    if work.kind == "activations":
        return sum(len(prompt.shared) + 2 * (len(prompt.tail) + 1) for prompt in work.prompts(lm))
    return sum(len(prompt.shared) + branches * len(prompt.tail) for prompt in work.prompts(lm))


def test_the_packed_formula_by_hand(lm: LM) -> None:
    works = {work.name: packed_tokens(lm, work) for work in make_works(lm, WORKS, SMALL)}
    assert works == {
        "extraction": 4 * (38 + 2 * 3),
        "sweep": 3 * (38 + (3 * 8 + 1) * 2),
        "grid": 6 * (38 + 10 * 2),
        "knowledge": 3 * (38 + 9 * 2),
        "answers": 3 * (39 + (3 * 8 + 1) * 2 * 6),
        "kl": 3 * (39 + 9 * 7),
        "generation": 2 * (38 + 9 * 4),
    }


def test_the_needed_tokens_by_hand(lm: LM) -> None:
    """A branch of an edit at block 0 of 3 needs two thirds of its tokens, and at the last block none."""
    made = {work.name: work for work in make_works(lm, ["sweep", "grid", "extraction", "answers"], SMALL)}
    works = {name: needed(lm, work) for name, work in made.items()}
    prompts, both = (begin_alike([p.ids for p in made[name].prompts(lm)]) for name in ("sweep", "grid"))
    # Without a plain branch the last prompt token and the answer prefix stop unedited at block 1.
    assert works["grid"].tokens == pytest.approx(both + 6 * 2 * (10 - 1) / 3)
    assert both < 2 * prompts
    assert works["sweep"].tokens == pytest.approx(prompts + 3 * 2 * 8 * (2 / 3 + 1 / 3))
    assert works["sweep"].heads == 3 * (3 * 8 + 1)
    assert works["extraction"].heads == 0
    stems = begin_alike([each.ids[:-1] for each in made["answers"].given_answers(lm)])
    assert works["answers"].tokens == pytest.approx(stems + 3 * 2 * 6 * (1 + 8 * (2 / 3 + 1 / 3)))
    assert works["answers"].heads == 3 * 2 * 6 * (3 * 8 + 1)


def test_begin_alike_counts_common_beginnings_once() -> None:
    assert begin_alike([]) == 0
    assert begin_alike([(1, 2, 3), (1, 2, 4), (1, 2, 3), (5,)]) == 5


def test_a_wrong_number_of_the_engine_shows(lm: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    right = choices.choice_logps

    def wrong(lm: LM, asked: Sequence[Presentation], interventions: Sequence[Intervention]) -> ChoiceLogps:
        found = right(lm, asked, interventions)
        found.logps[..., 0] += 0.01
        return found

    monkeypatch.setattr(choices, "choice_logps", wrong)
    engine = next(row for row in bench(lm, ["knowledge"], SMALL).rows if row.contender == "engine")
    assert engine.difference is not None and engine.difference > 1e-4


def test_a_missing_number_of_the_engine_shows(lm: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(lm: LM, asked: Sequence[Presentation], interventions: Sequence[Intervention]) -> ChoiceLogps:
        shape = (len(interventions), len(asked))
        return ChoiceLogps(np.full((*shape, 2), np.nan, dtype=np.float32), np.zeros(shape, dtype=bool))

    monkeypatch.setattr(choices, "choice_logps", none)
    engine = next(row for row in bench(lm, ["grid"], SMALL).rows if row.contender == "engine")
    assert engine.difference is not None and math.isnan(engine.difference)
    met = [target.met(engine.difference) for target in TARGETS[STANDARD] if target.figure == "difference"]
    assert met == [False]


def test_the_model_is_as_it_was(lm: LM) -> None:
    before, meter = lm.mark(), dict(vars(lm.meter))
    for work in make_works(lm, WORKS, SMALL):
        measure(lm, work, replace(SMALL, repeats=1), rate=1e9)
    assert lm.mark() == before
    assert vars(lm.meter) == meter


def test_figures_of_a_row_belong_together(lm: LM, results: Results) -> None:
    engine, loop = (of(results, "knowledge", name) for name in ("engine", "plain loop"))
    assert engine.seconds and loop.seconds and engine.ratio and engine.ceiling and loop.tokens and engine.tokens
    assert engine.ratio == pytest.approx(loop.seconds / engine.seconds)
    assert engine.ceiling == pytest.approx(loop.tokens / engine.tokens)
    assert engine.ceiling_share == pytest.approx(engine.ratio / engine.ceiling)
    (work,) = make_works(lm, ["knowledge"], SMALL)
    least = loop.tokens / (needed(lm, work).tokens * work.scale)
    assert engine.least_share == pytest.approx(engine.ratio / least)
    assert loop.ratio == 1.0
    assert (engine.timed, loop.timed) == ("3 of 6 items", "5 of 54 passes")
    assert of(results, "knowledge", "plain passes").passes == 1.0


def test_the_floor_is_operations_over_the_rate(lm: LM) -> None:
    (work,) = make_works(lm, ["extraction"], SMALL)
    block = 4 * 64 * 64 + 3 * 64 * 128
    assert floor_seconds(lm, work, 1e9) == pytest.approx(2 * needed(lm, work).tokens * 3 * block / 1e9)
    assert matrix_rate(lm) > 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory of a process is read from /proc")
def test_peak_memory_sees_what_was_taken_and_given_back(lm: LM) -> None:
    with peak_memory(lm.device.type) as peak:
        torch.ones(50, 2**20)
    # Some sandboxes don't let a process reset its own high-water mark.
    assert peak.above is None or 190 * 2**20 < peak.above < 400 * 2**20


def test_a_model_with_a_tokenizer_of_its_own_gets_english_of_the_length_asked_for() -> None:
    lm = tiny_lm()
    items = make_items(lm, 5, 150, seed=0)
    lengths = [len(lm.choice_prompt(item.question, ("A", "B")).ids) for item in items]
    assert all(147 < length <= 150 for length in lengths)
    assert all(item.parsed for item in items)
    assert items == make_items(lm, 5, 150, seed=0) != make_items(lm, 5, 150, seed=1)


def test_too_few_tokens_for_a_question_are_refused(lm: LM) -> None:
    with pytest.raises(CompareError, match=r"takes .* tokens or more, not 5: give it more by --tokens"):
        make_items(lm, 1, 5, seed=0)


def test_the_standard_subject_is_the_one_described() -> None:
    shape = Shape()
    block = 4 * shape.width**2 + 3 * shape.width * shape.intermediate + 2 * shape.width
    total = shape.blocks * block + 2 * shape.vocabulary * shape.width + shape.width
    assert (shape.blocks, shape.width, shape.vocabulary, round(total / 1e6)) == (12, 512, 4096, 43)
    assert for_subject(STANDARD) == Sizes()
    assert len(MULTIPLIERS) == 9


def test_the_same_seed_gives_the_same_model(lm: LM) -> None:
    again = random_llama(Shape(3, 64, 128, 4, 400, 256, spread=0.15), STANDARD)
    assert all(torch.equal(a, b) for a, b in zip(lm.model.parameters(), again.model.parameters(), strict=True))


def test_the_library_when_installed_agrees(lm: LM) -> None:
    library = library_loop()
    if library is None:
        pytest.skip("the steering-vectors library is not installed")
    for work in make_works(lm, WORKS, SMALL):
        prompts = work.read_by(lm)
        for job in work.jobs[:: max(1, len(work.jobs) // 5)]:
            mine, theirs = (loop.run(lm, work, prompts, job)[0] for loop in (PLAIN_LOOP, library))
            assert mine == theirs if isinstance(mine, str) else np.allclose(mine, theirs, atol=1e-5)


def test_targets_stand_beside_what_was_measured_at_their_own_sizes_only(results: Results) -> None:
    assert results.targets == []
    whole = replace(results, sizes=replace(Sizes(), repeats=1))
    found = {(target.works[0], target.figure): value for target, value in whole.targets}
    assert found[("sweep", "ratio")] == of(results, "sweep", "engine").ratio
    differences = [of(results, name, "engine").difference for name in ("sweep", "grid", "knowledge", "answers", "kl")]
    assert found[("sweep", "difference")] == max(value for value in differences if value is not None)


@pytest.mark.parametrize("width", [80, 140])
def test_the_rendered_table_names_works_targets_and_who_is_missing(
    results: Results, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    show(replace(results, sizes=Sizes()))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert ("Not shown at this width" in text) == (width == 80)
    text = " ".join(text.split())
    for word in (*WORKS, "at least 65.00", "share of the ceiling"):
        assert word in text
    assert "…" not in text and ("5 of 54 passes" in text) == (width == 140)
    assert ("steering-vectors: not installed" in text) == (library_loop() is None)


def test_the_command_prints_the_table_or_json(lm: LM, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("comparisons.bench.subjects.open_subject", lambda *options: lm)
    assert run(["bench", "--quick", "--json", "--work", "sweep,extraction", "--prompts", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["subject", "machine", "sizes", "matrix_rate", "rows", "targets"]
    assert found["sizes"] == asdict(replace(QUICK, prompts=2))
    assert [(row["work"], row["contender"]) for row in found["rows"]] == [
        (work, contender) for work in ("extraction", "sweep") for contender in CONTENDERS
    ]
    assert {key for row in found["rows"] for key in row} == set(Row.__dataclass_fields__)
    assert run(["bench", "--quick", "--work", "grid", "--prompts", "2"]) == 0
    assert "grid" in capsys.readouterr().out
    assert run(["bench", "--work", "swep"]) == 2
    assert "unknown work 'swep'. Did you mean sweep" in capsys.readouterr().err


def test_figures_and_their_numbers_are_written(lm: LM, tmp_path: Path) -> None:
    files = write_figures(lm, tmp_path / "figures", replace(QUICK, tokens=32), lambda text: None, quick=True)
    assert [path.name for path in files] == ["performance.json", "settings.png", "lengths.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files[1:])
    found = json.loads(files[0].read_text())
    assert [point["settings"] for point in found["settings"]] == [1, 4]
    assert [point["tokens"] for point in found["lengths"]] == [32, 64]
    assert sum(found["sweep_shares"].values()) == pytest.approx(1)
    assert found["sweep_shares"]["matrix products"] > 0
    assert all(point["engine"] > 0 and point["plain_loop"] > 0 for point in found["settings"] + found["lengths"])


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_settings_of_a_figure_are_distinct_and_spread(lm: LM, count: int) -> None:
    settings = spread(lm, count, seed=0)
    assert len({edit.digest for edit in settings}) == count
    assert len({edit.layer for edit in settings}) == min(count, 3)
    assert all(edit.effective for edit in settings)
