"""The program from Python: `comparisons.run` takes what `compare run` and `compare sweep` take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from comparisons.api.arguments import (
    checked,
    checked_values,
    doses,
    layer_text,
    model_names,
    names,
    python_command,
    setting_texts,
)
from comparisons.api.result import Result
from comparisons.util.terminal import libraries_logged

if TYPE_CHECKING:
    from comparisons.experiment.specification import Specification
    from comparisons.running.sinks import Progress

Value = str | int | float | bool | Path | None
"""What a setting can be."""

SWEEP_STRENGTHS = (0.5, 1.0, 2.0)


def run(
    behavior: str | Iterable[str],
    methods: str | Iterable[str] = (),
    *,
    model: str | Path | Iterable[str | Path] = "pocket",
    data: str | Path | None = None,
    directions: str | Iterable[str] = ("pos", "neg"),
    strengths: float | Iterable[float] | None = None,
    settings: Mapping[str, Value | Iterable[Value]] | None = None,
    layer: int | str = "auto",
    layers: str | int | Iterable[int] | None = None,
    split: Literal["dev", "test"] | None = None,
    orders: Literal["both", "given"] = "both",
    prompt_format: Literal["chat", "base", "llama2-paper"] | None = None,
    knowledge: str | None = None,
    train_items: int | None = None,
    test_items: int | None = None,
    select: str | None = None,
    controls: bool = False,
    side_effects: bool = False,
    robustness: bool = False,
    generated_choices: bool = False,
    open_ended: bool | None = None,
    tokens: int | None = None,
    judge: str | Iterable[str] = (),
    judge_url: str | None = None,
    judge_price: tuple[float, float] | None = None,
    judge_budget: float | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    quantize: Literal["4bit", "8bit"] | None = None,
    blocks: str | None = None,
    trust_remote_code: bool = False,
    offload: str | Path | None = None,
    plugins: str | Path | None = None,
    executor: Literal["local", "ray"] = "local",
    workers: int | None = None,
    gpus_per_cell: float | None = None,
    address: str | None = None,
    progress: Callable[[int], AbstractContextManager[Progress]] | None = None,
) -> Result:
    """Compares methods on behaviors, as `compare run` does; with `layers`, sweeps them, as `compare sweep` does.

    The arguments are the commands' options; a list may be given as one or as text with commas. The same call resumes a
    run that was interrupted, and reads again one that has ended. A message that names an option, as "--data", means the
    argument of that name.

    Args:
        behavior: names, or "all".
        methods: stacks, as "caa,sft+caa"; a sweep takes every method with a layer where none is named.
        model: "pocket", a folder, or an id of the Hugging Face hub; several for one table of all.
        data: a folder in the paper's layout, or one file; None for the embedded data.
        directions: "pos", "neg", or both.
        strengths: doses, at least 0; 1 by default, and 0.5, 1 and 2 in a sweep.
        settings: `{"caa.layer": 1, "sft.rank": [4, 16]}`; a list multiplies cells.
        layer: for methods that have one.
        layers: sweeps these blocks: "all", "8-20", [0, 1, 2].
        split: where the questions are from; "test" by default, and "dev" in a sweep.
        orders: ask with the two choices as given and exchanged, or as given only.
        prompt_format: by default the tokenizer's chat template, or "base" where it has none.
        knowledge: "auto" (the default), "mmlu", "mmlu4", "truthfulqa", "none" (the default of a sweep) or
            "lm_eval:TASK,TASK".
        train_items: contrast pairs to use; all by default.
        test_items: questions to evaluate on; all by default.
        select: of each stack only the best within a limit on dev, as "cost<=0.02".
        controls: add every control, and rank each vector among random directions.
        side_effects: evaluate each cell on all other behaviors of the data too.
        robustness: evaluate each cell again under other wordings and another prompt format.
        generated_choices: let each cell write an answer to every question too, and find the choice in it.
        open_ended: let each cell answer the open-ended prompts, and judges score the answers.
        tokens: of a free answer, at most; 60 by default.
        judge: who scores free answers: "rules" by default, "local", "openai:MODEL", …
        judge_url: an OpenAI-compatible server.
        judge_price: dollars a million tokens of prompt and of reply.
        judge_budget: dollars after which judges are asked no more.
        out: the run's folder; by default one under reports/.
        fresh: discard what the folder holds and begin anew.
        seed: of splits, fits and intervals.
        device: "auto" takes a GPU where there is one.
        dtype: "auto" is float32 on a CPU, else the checkpoint's.
        quantize: load through bitsandbytes.
        blocks: dotted path of the decoder blocks, where it can't be found.
        trust_remote_code: let code that comes with a hub model run.
        offload: a folder for blocks that fit neither the GPUs nor main memory.
        plugins: a folder of further methods.
        executor: where cells are evaluated: in this process, or by workers on a Ray cluster.
        workers: of Ray: as many as GPUs, or cores, by default.
        gpus_per_cell: of each Ray worker; may be a share of one.
        address: of a Ray cluster; None starts one on this machine.
        progress: opens a display for so many cells, as `comparisons.cli.progress.cell_progress`; none by default.

    Returns:
        The run, read from its folder. A cell that failed is a row with its error: see `Result.failed`.

    Raises:
        CompareError: an argument, the data, the model or the folder is wrong; nothing has been written.
    """
    given = checked(run, locals())
    checked_values(given)
    from comparisons.running import job
    from comparisons.running.executors import make_executor
    from comparisons.running.sinks import Silent

    spec = specification(given)
    shown = progress or (lambda cells: nullcontext(Silent()))
    where = make_executor(*(given[name] for name in ("executor", "workers", "gpus_per_cell", "address")))
    with libraries_logged():
        ended = job.run(spec, shown, None if out is None else Path(out), fresh, python_command(run, given), where)
    return Result.read(ended.path)


def specification(given: Mapping[str, Any]) -> Specification:
    """The specification that checked arguments of `run` stand for; raises CompareError where one is wrong."""
    from comparisons.experiment.specification import Specification
    from comparisons.judges.free_answers import OpenEnded
    from comparisons.model.source import ModelSource
    from comparisons.running.sweep import sweep_specification

    def path(name: str) -> Path | None:
        return None if given[name] is None else Path(given[name])

    loaded = ("device", "dtype", "quantize", "prompt_format", "blocks", "trust_remote_code")
    kept = ("orders", "train_items", "test_items", "seed", "select")
    switches = ("controls", "side_effects", "robustness", "generated_choices")
    money = given["judge_price"] and tuple(map(float, given["judge_price"])), given["judge_budget"]
    sweeps, behaviors, strengths = given["layers"] is not None, names(given["behavior"]), given["strengths"]
    model, *more = model_names(given["model"])
    spec = Specification(
        model=ModelSource(model, **{name: given[name] for name in loaded}, offload=path("offload")),
        more_models=tuple(more),
        behaviors=() if behaviors == ("all",) else behaviors,
        stacks=names(given["methods"]),
        data=path("data"),
        directions=names(given["directions"]),
        strengths=doses((SWEEP_STRENGTHS if sweeps else 1.0) if strengths is None else strengths),
        layer=str(given["layer"]),
        settings=setting_texts(given["settings"] or {}),
        knowledge=given["knowledge"] or ("none" if sweeps else "auto"),
        split=given["split"] or ("dev" if sweeps else "test"),
        plugins=path("plugins"),
        open_ended=OpenEnded.asked(
            given["open_ended"], names(given["judge"]), given["tokens"], given["judge_url"], *money
        ),
        **{name: given[name] for name in (*kept, *switches)},
    )
    return sweep_specification(spec, layer_text(given["layers"])) if sweeps else spec
