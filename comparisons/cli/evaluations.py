"""`compare evaluations` and `compare check-evaluation`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from comparisons.cli.methods import show_checks
from comparisons.cli.options import JSON, declared_option

if TYPE_CHECKING:
    from comparisons.experiment.readers import SettingTexts


@click.command("evaluations")
@declared_option("evaluations")
def command(evaluations: Path | None) -> None:
    """List the evaluations, what they measure, and their settings with defaults.

    \b
    Example:
      compare evaluations --evaluations my_evaluations/
    """
    from rich.markup import escape
    from rich.table import Table

    from comparisons.cli.tables import stdout
    from comparisons.evaluation.registry import EvaluationRegistry

    table = Table("evaluation", "what it measures", "settings")
    for info in EvaluationRegistry(evaluations).describe():
        if info.error is not None:
            table.add_row(escape(info.name), escape(f"broken: {info.error}"), escape(info.source))
            continue
        settings = "\n".join(f"{s.name}={s.default or 'VALUE'}  ({s.type})" for s in info.settings)
        table.add_row(escape(info.name), escape(info.summary), escape(settings))
    stdout().print(table)


@click.command("check-evaluation")
@click.argument("name")
@declared_option("evaluations")
@declared_option("settings", help="Of the evaluation.", metavar="NAME.FIELD=VALUE")
@JSON
def check(name: str, evaluations: Path | None, settings: SettingTexts, as_json: bool) -> int:
    """Try an evaluation on a tiny random model: what holds of it, and what fails.

    NAME is an evaluation's, or the file of one. Exit code 1 where something fails.

    \b
    Examples:
      compare check-evaluation robustness
      compare check-evaluation my_evaluations/brevity.py
    """
    from comparisons.evaluation.conformance import examine_evaluation
    from comparisons.evaluation.registry import EvaluationRegistry, settings_of
    from comparisons.method.settings import parse_settings

    if name.endswith(".py"):
        evaluations, name = Path(name).parent, Path(name).stem
    made = parse_settings(EvaluationRegistry(evaluations).get(name), settings_of(name, settings), name)
    return show_checks(name, examine_evaluation(made, name), as_json, "a sound evaluation")
