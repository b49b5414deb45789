"""`compare run`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

HELP = """Compare methods on behaviors: one table of shift and cost.

\b
Examples:
  compare run --behavior refusal --methods caa,sft,sysprompt,sft+caa
  compare run --behavior all --methods caa --strengths 0.5,1,2 --set caa.layer=1,2
  compare run --model meta-llama/Llama-2-7b-chat-hf --data DIR --behavior refusal --methods caa,sysprompt
  compare run --behavior sycophancy --methods sft:pos+caa,sft:neg+caa
"""


def _names(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _numbers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
    from comparisons.errors import CompareError

    try:
        return tuple(float(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise CompareError(f"--strengths takes numbers such as 0.5,1,2, not '{value}'.") from None


@click.command("run", help=HELP)
@click.option("--behavior", required=True, callback=_names, metavar="NAME[,NAME…]|all", help="What to change.")
@click.option("--methods", required=True, callback=_names, metavar="STACK[,STACK…]", help="How: caa,sft+caa,…")
@click.option("--model", default="pocket", show_default=True, metavar="pocket|PATH|HUB_ID", help="On which model.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder in the paper's layout, or one file.")
@click.option(
    "--directions",
    default="pos,neg",
    show_default=True,
    callback=_names,
    metavar="pos|neg|pos,neg",
    help="More, less, or both.",
)
@click.option(
    "--strengths", default="1", show_default=True, callback=_numbers, metavar="S[,S…]", help="Doses, at least 0."
)
@click.option("--layer", default="auto", show_default=True, metavar="auto|N", help="For methods that have one.")
@click.option(
    "--set", "settings", multiple=True, metavar="METHOD.FIELD=VALUE[,VALUE…]", help="A list multiplies cells."
)
@click.option(
    "--orders",
    type=click.Choice(["both", "given"]),
    default="both",
    show_default=True,
    help="Ask with the two choices as given and exchanged, or as given only (the paper's way).",
)
@click.option(
    "--prompt-format",
    type=click.Choice(["chat", "base", "llama2-paper"]),
    help="By default the tokenizer's chat template, or base where it has none.",
)
@click.option(
    "--knowledge",
    type=click.Choice(["auto", "mmlu", "truthfulqa", "none"]),
    default="auto",
    show_default=True,
    help="Questions on which the cost is measured.",
)
@click.option("--train-items", type=int, metavar="N", help="Contrast pairs to use; all by default.")
@click.option("--test-items", type=int, metavar="N", help="Test questions to use; all by default.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder; by default one under reports/.")
@click.option("--fresh", is_flag=True, help="Discard what the folder holds and begin anew.")
@click.option("--dry-run", is_flag=True, help="Show cells, forward passes and time, and stop.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of splits, fits and intervals.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to run; auto takes a GPU.",
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="Auto: float32 on a CPU, else the checkpoint's.",
)
@click.option("--quantize", type=click.Choice(["4bit", "8bit"]), help="Load through bitsandbytes.")
@click.option("--blocks", metavar="PATH", help="Dotted path of the decoder blocks, where it can't be found.")
@click.option("--trust-remote-code", is_flag=True, help="Let code that comes with a hub model run.")
@click.option("--plugins", type=click.Path(path_type=Path), help="Folder of further methods, one file each.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary rows as JSON.")
def command(out: Path | None, fresh: bool, dry_run: bool, as_json: bool, **options: Any) -> int:
    spec = _specification(**options)
    if dry_run:
        from comparisons.estimate import estimate

        click.echo(estimate(spec).text())
        return 0
    from comparisons.cli.progress import cell_progress
    from comparisons.job import run

    typed = shlex.join(["compare", *sys.argv[1:]])
    outcome = run(spec, cell_progress, out=out, fresh=fresh, command=typed)
    if as_json:
        import json

        click.echo(json.dumps({"run": str(outcome.path), "rows": [asdict(row) for row in outcome.rows]}))
    else:
        from comparisons.cli.tables import show

        show(outcome.rows)
        click.echo(f"report: {outcome.path / 'report.md'}")
    for row in outcome.failed:
        click.echo(f"compare: {row.cell} failed: {row.error}", err=True)
    return 1 if outcome.failed else 0


def _specification(
    behavior: tuple[str, ...],
    methods: tuple[str, ...],
    model: str,
    settings: tuple[str, ...],
    device: str,
    dtype: str,
    quantize: Any,
    prompt_format: Any,
    blocks: str | None,
    trust_remote_code: bool,
    **rest: Any,
) -> Any:
    from comparisons.loading import ModelSource
    from comparisons.settings import parse_set_options
    from comparisons.specification import Specification

    source = ModelSource(model, device, dtype, quantize, prompt_format, blocks, trust_remote_code)
    names = () if behavior == ("all",) else behavior
    return Specification(model=source, behaviors=names, stacks=methods, settings=parse_set_options(settings), **rest)
