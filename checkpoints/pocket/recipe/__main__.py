"""`python -m checkpoints.pocket.recipe data` and `python -m checkpoints.pocket.recipe train`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def main() -> None:
    """The embedded model's data and training."""


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
def data(out: Path) -> None:
    """Writes the data of the embedded language."""
    from checkpoints.pocket.recipe.dataset import write_data

    write_data(out)
    click.echo(f"written: {out}")


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("checkpoints/pocket"), show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--compile/--no-compile", "compiled", default=True, show_default=True)
def train(out: Path, device: str, threads: int, compiled: bool) -> None:
    """Trains the embedded model from nothing and writes it."""
    from checkpoints.pocket.recipe.train import Recipe, keep_memory
    from checkpoints.pocket.recipe.train import train as run

    keep_memory()
    run(Recipe(), out, device, threads, compiled, lambda line: click.echo(line, err=True))
    click.echo(f"written: {out}")


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write the card here; by default the figures are printed.")
@click.option("--provenance", default="", help="How the checkpoint was made, for the card.")
def card(run: Path, out: Path | None, provenance: str) -> None:
    """Measures the model card's figures on a finished run of all behaviors."""
    import json

    from checkpoints.pocket.recipe.card import measure
    from checkpoints.pocket.recipe.cardtext import card as render
    from comparisons.results.folder import read_summary
    from comparisons.util.files import read_json, write_text

    figures = measure(run)
    click.echo(json.dumps(figures, indent=1, ensure_ascii=False))
    if out is not None:
        write_text(out, render(figures, read_summary(run), read_json(run / "run.json", "run"), provenance))


if __name__ == "__main__":
    main()
