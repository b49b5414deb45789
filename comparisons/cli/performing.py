"""What `compare run` and `compare sweep` do with their options: a specification is run, or estimated, and shown."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.options import read_price
from comparisons.util.terminal import say

if TYPE_CHECKING:
    from comparisons.experiment.specification import Specification
    from comparisons.running.job import Outcome

SAID = 10
"""Failed cells that are named on stderr; the report names them all."""


def specification(
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
    offload: Path | None = None,
    open_ended: bool | None = None,
    judges: tuple[str, ...] = (),
    judge_url: str | None = None,
    judge_price: str | None = None,
    judge_budget: float | None = None,
    tokens: int | None = None,
    **rest: Any,
) -> Specification:
    """The specification that the options stand for."""
    from comparisons.api.arguments import model_names
    from comparisons.experiment.specification import Specification
    from comparisons.judges.free_answers import OpenEnded
    from comparisons.method.settings import parse_set_options
    from comparisons.model.source import ModelSource
    from comparisons.util.errors import CompareError

    if not model_names(model):
        raise CompareError("--model is empty: name pocket, a folder, or an id of the hub.")
    first, *more = model_names(model)
    source = ModelSource(first, device, dtype, quantize, prompt_format, blocks, trust_remote_code, offload)
    named = () if behavior == ("all",) else behavior
    price = read_price(judge_price)
    rest["open_ended"] = OpenEnded.asked(open_ended, judges, tokens, judge_url, price, judge_budget)
    given = {"stacks": methods, "settings": parse_set_options(settings), **rest}
    return Specification(model=source, more_models=tuple(more), behaviors=named, **given)


def perform(
    spec: Specification, out: Path | None, fresh: bool, dry_run: bool, as_json: bool, where: Mapping[str, Any]
) -> int:
    """Runs a specification, or estimates it, and prints what came of it; returns the exit code."""
    if dry_run:
        from comparisons.running.estimate import estimate

        click.echo(estimate(spec).text())
        return 0
    from comparisons.cli.progress import cell_progress
    from comparisons.running.executors import make_executor
    from comparisons.running.job import run

    command = shlex.join(["compare", *sys.argv[1:]])
    outcome = run(spec, cell_progress, out=out, fresh=fresh, command=command, executor=make_executor(**where))
    if as_json:
        import json

        click.echo(json.dumps({"run": str(outcome.path), "rows": [asdict(row) for row in outcome.rows]}))
    else:
        from comparisons.cli.tables import show

        show(outcome.path)
    complain(outcome)
    return 1 if outcome.failed else 0


def complain(outcome: Outcome) -> None:
    """Names the failed cells on stderr."""
    failed: Sequence[Any] = outcome.failed
    for row in failed[:SAID]:
        say(f"compare: {row.cell} failed: {row.error}")
    if len(failed) > SAID:
        say(f"compare: {len(failed) - SAID} more cells failed, see {outcome.path / 'report.md'}")
