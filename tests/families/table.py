"""The table of families in docs/models.md."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from tests.families.checks import CHECKS, Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
HEAD, END = "## Families that were tried", "## How a prompt is checked"
"""The heading of the table's section, and the one behind it."""

COLUMNS = ("family", *CHECKS)

SECTION = """{head}

Made by `make families` on {date} with transformers {version}, of tiny random models on a CPU in float32: of {all}
families {loaded} load, and {refused} are refused in a line. What is said here was held to plain code, one prompt and
one pass at a time: letters, plain and under an edit, to 1e-4 nats; contrast activations; letters under a trained
adapter, which lies on the text's blocks alone; greedy answers, plain and under an edit, to `model.generate`, token
for token; answers under a system prompt, and under an edit of the whole prompt, to those of whole texts. A model goes
by its architecture, as `model_type` in config.json names it: Vicuna is a `llama`, DeepSeek R1's distills are `qwen2`
and `llama`.

Where a family's attention takes some of the tokens by a score (DeepSeek V3.2's and GLM's sparse attention, Doge's
beyond its window), which of the tokens of one score are taken differs with the shape of a pass: of few index heads many
scores are exactly 0, and a token that is repeated has one score in Doge's first block. There is no one right number.

{table}

{lines}

"""


def written(rows: Sequence[Row]) -> str:
    """The section: what was tried, with which versions, a row a family, and the refused ones with their line."""
    import transformers

    table = [COLUMNS, tuple("---" for _ in COLUMNS), *map(cells_of, rows)]
    refused = [row for row in rows if row.refused is not None]
    return SECTION.format(
        head=HEAD,
        date=datetime.date.today().isoformat(),
        version=transformers.__version__,
        all=len(rows),
        loaded=len(rows) - len(refused),
        refused=len(refused),
        table="\n".join("| " + " | ".join(cells) + " |" for cells in table),
        lines="\n".join(f"- `{row.name}`: {row.refused}" for row in refused),
    )


def cells_of(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    if row.refused is not None:
        return (row.name, "refused, see below", *("" for _ in COLUMNS[2:]))
    cells = {**row.cells, **{column: f"**wrong**: {what}" for column, what in row.broken.items()}}
    return (row.name, *(cells.get(column, "").replace("|", "\\|") for column in COLUMNS[1:]))


def write(rows: Sequence[Row], page: Path = PAGE) -> None:
    """Puts the section into the page, in place of the one that is there."""
    before, _, behind = page.read_text(encoding="utf-8").partition(END)
    page.write_text(f"{before.partition(HEAD)[0]}{written(rows)}{END}{behind}", encoding="utf-8")
