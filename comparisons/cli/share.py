"""`compare share`."""

from __future__ import annotations

from pathlib import Path

import click

HELP = """Share a run's best vector or adapter on the Hugging Face hub, with a card of what it does, costs and is from.

The card's program applies it in plain transformers. HF_TOKEN is read from the environment or .env.

\b
Examples:
  compare share reports/refusal-pocket-1a2b3c4d --to me/refusal-vector --dry-run
  compare share reports/refusal-pocket-1a2b3c4d --to me/refusal-vector --private
"""


@click.command("share", help=HELP)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--to", "name", required=True, metavar="ORG/NAME", help="The repository; made where there is none.")
@click.option("--private", is_flag=True, help="Make it a private one.")
@click.option("--dry-run", is_flag=True, help="Write RUN/shared/, to be looked at, and upload nothing.")
def command(run: Path, name: str, private: bool, dry_run: bool) -> None:
    from comparisons.running.share import make_bundle
    from comparisons.util.hub import check_name, upload

    folder = make_bundle(run, check_name(name), run / "shared")
    for file in sorted(folder.iterdir()):
        click.echo(file)
    if not dry_run:
        click.echo(upload(folder, name, private))
