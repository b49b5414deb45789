"""What `compare run` and `compare sweep` do with their options: a specification is run, or estimated, and shown."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from comparisons.api.arguments import Execution
from comparisons.util.options import values_of
from comparisons.util.terminal import say

if TYPE_CHECKING:
    from comparisons.experiment.specification import Specification
    from comparisons.running.job import Outcome

NAMED = 10
"""Failed cells that are named on stderr; the report names them all."""


def perform(spec: Specification, given: Mapping[str, Any], dry_run: bool, as_json: bool) -> int:
    """Runs a specification, or estimates it, and prints what came of it; returns the exit code.

    Args:
        spec: what to run.
        given: the options, of which those of `Execution` say how.
        dry_run: estimate it.
        as_json: print the rows as JSON.
    """
    if dry_run:
        from comparisons.running.estimate import estimate

        click.echo(estimate(spec).text())
        return 0
    outcome = run(spec, given)
    if as_json:
        click.echo(json.dumps({"run": str(outcome.path), "rows": [asdict(row) for row in outcome.rows]}))
    else:
        from comparisons.cli.tables import show

        show(outcome.path)
    return complain(outcome)


def run(spec: Specification, given: Mapping[str, Any]) -> Outcome:
    """Runs a specification as the options of `Execution` say, and shows how far it is."""
    from comparisons.cli.progress import cell_progress
    from comparisons.running import job
    from comparisons.running.executors import make_executor

    how = Execution(**values_of(Execution, given))
    where = make_executor(how.executor, how.workers, how.gpus_per_cell, how.address)
    return job.run(spec, cell_progress, how.out, how.fresh, shlex.join(["compare", *sys.argv[1:]]), where)


def complain(outcome: Outcome) -> int:
    """Names the failed cells on stderr; returns the exit code."""
    failed = outcome.failed
    for row in failed[:NAMED]:
        say(f"compare: {row.cell} failed: {row.error}")
    if len(failed) > NAMED:
        say(f"compare: {len(failed) - NAMED} more cells failed, see {outcome.path / 'report.md'}")
    return 1 if failed else 0
