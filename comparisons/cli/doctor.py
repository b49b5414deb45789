"""`compare doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.options import LOADING, lists, method_names, model_source, one_model, options, without_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comparisons.machine.doctor import Advice, Measured
    from comparisons.machine.memory import Footprint
    from comparisons.machine.prompt import ShownPrompt
    from comparisons.model.source import ModelSource
    from comparisons.util.errors import CompareError

TITLES = {"loading": "loading", "sweeping": "sweeping", "training": "training", "training_full": "training in full"}


@click.command("doctor")
@click.option("--artifacts", is_flag=True, help="Verify what checkpoints/ and reports/ hold, by checksums, instead.")
@click.option("--clean", is_flag=True, help="With --artifacts: remove what is damaged or left over.")
@click.option("--reports", type=click.Path(path_type=Path), help="With --artifacts: where the runs are.")
@options(one_model("Instead, estimate the memory that a model takes.", default=None), *LOADING)
@click.option("--tokens", type=click.IntRange(min=1), metavar="N", help="With --model: of a prompt.  [default: 192]")
@click.option("--prompts", type=click.IntRange(min=1), metavar="N", help="With --model: of a sweep.  [default: 50]")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="With --model: of a training.  [default: 16]")
@click.option(
    "--measure", is_flag=True, help="With --model: load it, sweep, and show what that takes beside the estimate."
)
@click.option(
    "--method", metavar="NAME", help="With --measure: fit this method too.", shell_complete=lists(method_names)
)
@click.option("--json", "as_json", is_flag=True, help="With --model: print the estimate as JSON.")
def command(artifacts: bool, clean: bool, reports: Path | None, as_json: bool, **given: Any) -> int:
    """Check whether this machine is fit: packages, device, memory, the embedded model and data.

    With --artifacts, check whether fitted artifacts, judges' kept verdicts and runs are whole; with --clean too, remove
    what is damaged or left over and can be made again. A damaged run stays: its own command mends it.

    With --model, estimate from the configuration alone, of which a hub's model has nothing else fetched, what loading,
    sweeping and training take in memory, and what of it fits this machine or would with another option. The other
    options are those of a run, and count with --model only. With --measure too the model is loaded and tried, which
    tells how far the estimate holds on this machine, and how fast it is. Then a prompt as the model reads it, token by
    token at its end, and what had to be mended; of a hub's model once its tokenizer is here.

    Exit code 1 where something that a run needs is missing, something is damaged, or the model can't be loaded here; 2
    where the model would not read what it is to be asked.

    \b
    Examples:
      compare doctor
      compare doctor --model meta-llama/Llama-2-7b-chat-hf --quantize 4bit
      compare doctor --model pocket --measure --method sft
      compare doctor --artifacts --clean
    """
    if given["model"] is not None:
        if artifacts or clean or reports:
            raise click.UsageError("--model is a question of its own: leave out --artifacts, --clean and --reports.")
        return _estimate(as_json, given)
    without_model({**given, "json": as_json})
    if artifacts:
        return _artifacts(clean, reports)
    if clean or reports:
        raise click.UsageError("--clean and --reports go with --artifacts.")
    return _machine()


def _machine() -> int:
    from rich.table import Table

    from comparisons.cli.tables import stdout
    from comparisons.machine.doctor import checks

    table, results = Table("check", "", "what was found"), checks()
    for check in results:
        table.add_row(check.name, {True: "ok", False: "no", None: "–"}[check.fit], check.found)
    stdout().print(table)
    return 1 if any(check.fit is False for check in results) else 0


def _estimate(as_json: bool, given: Mapping[str, Any]) -> int:
    from comparisons.machine.doctor import NOWHERE, advise
    from comparisons.machine.memory import Load

    if given["method"] is not None and not given["measure"]:
        raise click.UsageError("--method goes with --measure.")
    source = model_source(given)
    load = Load(**{name: given[name] for name in ("tokens", "prompts", "batch") if given[name] is not None})
    advice = advise(source, load)
    measured: Sequence[Measured] = ()
    if given["measure"]:
        from comparisons.machine.doctor import measure
        from comparisons.method.registry import Registry

        method = None if given["method"] is None else Registry().get(given["method"])
        measured = measure(source, advice.asked.device, load, method)
    prompt, refused = _prompt(source, advice.shape.vocabulary)
    if as_json:
        rows = {"measured": [asdict(row) for row in measured]} if measured else {}
        click.echo(json.dumps({**advice.to_json(), **rows, "prompt": prompt and prompt.to_json()}))
    else:
        _show(advice)
        if measured:
            _show_measured(measured, advice.asked)
        if refused is None:
            _show_prompt(prompt)
    if refused is not None:
        raise refused
    return 1 if advice.verdicts()["loading"] == NOWHERE else 0


def _prompt(source: ModelSource, embeddings: int) -> tuple[ShownPrompt | None, CompareError | None]:
    """What the model reads of a probe, or why it can't be asked."""
    from comparisons.machine.prompt import shown_prompt
    from comparisons.util.errors import CompareError

    try:
        return shown_prompt(source, embeddings), None
    except CompareError as error:
        return None, error


def _show_prompt(prompt: ShownPrompt | None) -> None:
    from rich.text import Text

    from comparisons.cli.tables import stdout
    from comparisons.machine.prompt import LAST, marked
    from comparisons.util.terminal import printable

    if prompt is None:
        lines = ["prompt: not shown, as the tokenizer is not on this machine: --measure loads it"]
    else:
        lines = [
            f"prompt, as --prompt-format {prompt.format} gives it: {len(prompt.tokens)} tokens of a probe, the last "
            f"{LAST} marked; behind them the answer begins",
            prompt.text,
            f"letters: {marked(prompt.prefix)}, then {' or '.join(marked([each]) for each in prompt.letters)}",
            *prompt.notes,
        ]
    stdout().print(Text(printable("\n".join(lines))), soft_wrap=True)


def _show(advice: Advice) -> None:
    from rich.table import Table

    from comparisons.cli.tables import stdout

    out = stdout()
    shape = advice.shape
    out.print(
        f"{advice.model}: {shape.parameters:,} parameters, {shape.blocks} blocks of width {shape.width:,}, "
        f"stored as {shape.dtype if shape.stored is None else f'{shape.stored}; counted as if it were not quantized'}"
    )
    table = Table("on", "weights as", *TITLES.values())
    for row in (advice.asked, *advice.others):
        fits, phases = advice.fits(row), row.phases()
        cells = [f"{_gigabytes(phases[p])} {'fits' if fits[p] else 'no'}" if p in phases else "–" for p in TITLES]
        table.add_row({"cpu": "memory", "cuda": "GPU"}[row.device], _weights(row, advice.asked), *cells)
    out.print(table)
    gpus = " + ".join(map(_gigabytes, advice.machine.gpus)) or "none"
    out.print(f"this machine: {_gigabytes(advice.machine.ram)} of memory free; GPUs: {gpus}")
    for phase, verdict in advice.verdicts().items():
        out.print(f"{TITLES[phase]}: {verdict}")


def _show_measured(rows: Sequence[Measured], asked: Footprint) -> None:
    from rich.table import Table

    from comparisons.cli.tables import stdout

    units = {"sweeping": "prompts/s", "training": "batches/s"}
    table = Table("measured", "estimate", "peak", "of it", "seconds", "speed")
    for row in rows:
        expected = asked.phases()[row.phase]
        share = "–" if row.peak_bytes is None else f"{row.peak_bytes / expected:.0%}"
        speed = "–" if row.rate is None else f"{row.rate:,.2f} {units[row.phase]}"
        peak = _gigabytes(row.peak_bytes)
        table.add_row(TITLES[row.phase], _gigabytes(expected), peak, share, f"{row.seconds:,.1f}", speed)
    stdout().print(table)


def _gigabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"


def _weights(row: Footprint, asked: Footprint) -> str:
    name = f"{row.quantize}, rest {row.dtype}" if row.quantize else row.dtype
    return f"{name} (as asked)" if row is asked else name


def _artifacts(clean: bool, reports: Path | None) -> int:
    from comparisons.running import upkeep
    from comparisons.running.job import REPORTS
    from comparisons.util.artifacts import CHECKPOINTS
    from comparisons.util.errors import CompareError

    if reports is not None and not reports.is_dir():
        raise CompareError(f"--reports {reports}: there is no such folder.")
    findings = upkeep.look_through(CHECKPOINTS, reports or REPORTS)
    removed = upkeep.clean(findings) if clean else []
    for finding in findings:
        if finding.state != "whole":
            gone = " (removed)" if finding.path in removed else ""
            line = f"{finding.path}: {finding.text}"
            click.echo(f"{finding.state}: {finding.text if finding.state == 'damaged' else line}{gone}")
    counts = {state: sum(finding.state == state for finding in findings) for state in ("whole", "damaged", "left over")}
    click.echo(", ".join(f"{count} {state}" for state, count in counts.items()) + f"; {len(removed)} removed" * clean)
    return 1 if any(f.state == "damaged" and f.path not in removed for f in findings) else 0
