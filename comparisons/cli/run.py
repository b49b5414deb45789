"""`compare run` and `compare sweep`: a specification is run, or estimated, and shown."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.api.arguments import Execution
from comparisons.cli.options import (
    CONTROLS,
    GRID,
    JUDGING,
    MEASURING,
    RUNNING,
    SUBJECT,
    Grouped,
    declared_option,
    options,
)
from comparisons.experiment.specification import SWEEP, Specification
from comparisons.util.options import values_of
from comparisons.util.terminal import say

if TYPE_CHECKING:
    from comparisons.experiment.plan import Plan
    from comparisons.running.job import Outcome

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
  compare run --behavior refusal --methods caa --model ORG/A --knowledge lm_eval:arc_easy --knowledge-items 200
  compare run --behavior all --methods caa,sft --model ORG/A,ORG/B --data DIR --executor ray --gpus-per-cell 1
"""

SWEEP_HELP = """Sweep layers and strengths: a map of shift by layer and multiplier, and the best settings.

A sweep is evaluated on a dev split cut from the training pairs; the report says how to confirm its best on test.

\b
Examples:
  compare sweep --behavior refusal --layers all --strengths 0.5,1,2
  compare sweep --behavior all --layers 8-20,24 --model meta-llama/Llama-2-7b-chat-hf --data DIR
  compare sweep --behavior refusal --layers all --methods caa,sft+caa,sysprompt --knowledge auto
"""

SWEPT = "By default caa; a stack without a layer is a cell for reference."

NAMED = 10
"""Failed cells that are named on stderr; the report names them all."""


@click.command("run", help=HELP, cls=Grouped)
@options(
    *("methods", *SUBJECT, *GRID, "layer", *MEASURING, *CONTROLS),
    *("open_ended", "tokens", "thought_tokens", *JUDGING, *RUNNING),
)
def command(dry_run: bool, as_json: bool, **given: Any) -> int:
    return perform(Specification.of(given), given, dry_run, as_json)


@click.command("sweep", help=SWEEP_HELP, cls=Grouped)
@options(
    declared_option("methods", required=False, help=SWEPT),
    *SUBJECT,
    "layers",
    *GRID,
    "split",
    *MEASURING,
    *RUNNING,
    **SWEEP,
)
def sweep(dry_run: bool, as_json: bool, **given: Any) -> int:
    return perform(_swept(given), given, dry_run, as_json)


def _swept(given: Mapping[str, Any]) -> Specification:
    from comparisons.running.sweeps import sweep_specification

    return sweep_specification(Specification.of(given), given["layers"])


def specification_of(words: Sequence[str]) -> Specification:
    """What `run` or `sweep` with its options stands for; raises UsageError or CompareError where one is wrong."""
    name, *arguments = words or ("",)
    of = {"run": (command, Specification.of), "sweep": (sweep, _swept)}
    if name not in of:
        raise click.UsageError(f"'{name}' is neither run nor sweep.")
    asked, make = of[name]
    return make(asked.make_context(f"compare {name}", arguments).params)


def perform(spec: Specification, given: Mapping[str, Any], dry_run: bool, as_json: bool) -> int:
    """Runs a specification, or estimates it, and prints what came of it; returns the exit code.

    Args:
        given: the options, of which those of `Execution` say how.
    """
    if dry_run:
        from comparisons.running.estimate import estimate

        click.echo(estimate(spec).text())
        return 0
    outcome = run_specification(spec, given, quiet=as_json)
    if as_json:
        click.echo(json.dumps({"run": str(outcome.path), "rows": [asdict(row) for row in outcome.rows]}))
    else:
        from comparisons.cli.tables import show

        show(outcome.path, told=True)
    return complain(outcome)


def run_specification(spec: Specification, given: Mapping[str, Any], quiet: bool = False) -> Outcome:
    """Runs a specification as the options of `Execution` say, and shows how far it is.

    It begins with a line of what is asked, unless it is to be quiet.
    """
    from comparisons.cli.progress import cell_progress, preparing
    from comparisons.report.asked import asked_by
    from comparisons.running import job
    from comparisons.running.job import make_executor

    how = Execution(**values_of(Execution, given))
    where = make_executor(how.executor, how.workers, how.gpus_per_cell, how.address)
    command = shlex.join(["compare", *sys.argv[1:]])
    asked = ", see whether it can be asked in letters" if spec.measure == "auto" else ""
    with preparing(f"load {Path(spec.model.name).name}{asked}") as ended:

        def begun(plan: Plan) -> None:
            ended()
            if not quiet:
                click.echo(asked_by(plan))

        return job.run(spec, cell_progress, how.out, how.fresh, command, where, begun)


def complain(outcome: Outcome) -> int:
    """Names the failed cells on stderr; returns the exit code."""
    failed = outcome.failed
    for row in failed[:NAMED]:
        say(f"compare: {row.cell} failed: {row.error}")
    if len(failed) > NAMED:
        say(f"compare: {len(failed) - NAMED} more cells failed, see {outcome.path / 'report.md'}")
    return 1 if failed else 0
