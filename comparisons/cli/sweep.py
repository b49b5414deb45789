"""`compare sweep`."""

from __future__ import annotations

from typing import Any

import click

from comparisons.cli.options import GRID, MEASURING, RUNNING, SUBJECT, declared_option, options
from comparisons.cli.performing import perform
from comparisons.experiment.specification import SWEEP

HELP = """Sweep layers and strengths: a map of shift by layer and multiplier, and the best settings.

A sweep is evaluated on a dev split cut from the training pairs; the report says how to confirm its best on test.

\b
Examples:
  compare sweep --behavior refusal --layers all --strengths 0.5,1,2
  compare sweep --behavior all --layers 8-20,24 --model meta-llama/Llama-2-7b-chat-hf --data DIR
  compare sweep --behavior refusal --layers all --methods caa,sft+caa,sysprompt --knowledge auto
"""


METHODS = "By default every method that fits all layers; a stack without one is a cell for reference."


@click.command("sweep", help=HELP)
@options(
    declared_option("methods", required=False, help=METHODS),
    *SUBJECT,
    "layers",
    *GRID,
    "split",
    *MEASURING,
    *RUNNING,
    **SWEEP,
)
def command(dry_run: bool, as_json: bool, **given: Any) -> int:
    from comparisons.experiment.specification import Specification
    from comparisons.running.sweep import sweep_specification

    spec = sweep_specification(Specification.of(given), given["layers"])
    return perform(spec, given, dry_run, as_json)
