"""`compare run`."""

from __future__ import annotations

from typing import Any

import click

from comparisons.cli.options import CONTROLS, GRID, JUDGING, MEASURING, RUNNING, SUBJECT, options
from comparisons.cli.performing import perform

HELP = """Compare methods on behaviors: one table of shift and cost.

\b
Examples:
  compare run --behavior refusal --methods caa,sft,sysprompt,sft+caa
  compare run --behavior all --methods caa --strengths 0.5,1,2 --set caa.layer=1,2
  compare run --model meta-llama/Llama-2-7b-chat-hf --data DIR --behavior refusal --methods caa,sysprompt
  compare run --behavior sycophancy --methods sft:pos+caa,sft:neg+caa
  compare run --behavior refusal --methods caa,sft --controls --side-effects
  compare run --behavior refusal --methods caa,sysprompt,sft --robustness
  compare run --behavior refusal --methods caa,sysprompt --generated-choices
  compare run --behavior refusal --methods caa,sft,sysprompt --open-ended --judge rules,local
  compare run --behavior refusal --methods caa --model ORG/A --data DIR --knowledge lm_eval:arc_easy --test-items 200
  compare run --behavior all --methods caa,sft --model ORG/A,ORG/B --data DIR --executor ray --gpus-per-cell 1
"""


@click.command("run", help=HELP)
@options("methods", *SUBJECT, *GRID, "layer", *MEASURING, *CONTROLS, "open_ended", "tokens", *JUDGING, *RUNNING)
def command(dry_run: bool, as_json: bool, **given: Any) -> int:
    from comparisons.experiment.specification import Specification

    return perform(Specification.of(given), given, dry_run, as_json)
