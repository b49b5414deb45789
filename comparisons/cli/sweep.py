"""`compare sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from comparisons.cli.options import (
    EXECUTOR,
    grid_options,
    measuring_options,
    methods_option,
    running_options,
    subject_options,
)
from comparisons.cli.performing import perform, specification

HELP = """Sweep layers and strengths: a map of shift by layer and multiplier, and the best settings.

A sweep is evaluated on a dev split cut from the training pairs; the report says how to confirm its best on test.

\b
Examples:
  compare sweep --behavior refusal --layers all --strengths 0.5,1,2
  compare sweep --behavior all --layers 8-20,24 --model meta-llama/Llama-2-7b-chat-hf --data DIR
  compare sweep --behavior refusal --layers all --methods caa,sft+caa,sysprompt --knowledge auto
"""


@click.command("sweep", help=HELP)
@methods_option("By default every method that fits all layers; a stack without one is a cell for reference.", "")
@subject_options()
@click.option("--layers", required=True, metavar="all|A-B|N[,…]", help="Blocks, counted from 0.")
@grid_options(strengths="0.5,1,2")
@click.option(
    "--split",
    type=click.Choice(["dev", "test"]),
    default="dev",
    show_default=True,
    help="Where the questions are from; dev is cut from the training pairs.",
)
@measuring_options(knowledge="none")
@running_options()
def command(layers: str, out: Path | None, fresh: bool, dry_run: bool, as_json: bool, **options: Any) -> int:
    from comparisons.running.sweep import sweep_specification

    where = {name: options.pop(name) for name in EXECUTOR}
    return perform(sweep_specification(specification(**options), layers), out, fresh, dry_run, as_json, where)
