"""The notebook of the documentation: committed with its outputs, and it still runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs/quickstart.ipynb"


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_committed_as_it_ran_from_top_to_bottom() -> None:
    cells = code(nbformat.read(NOTEBOOK, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds == {"execute_result", "stream"}
    assert not [o for cell in cells for o in cell.outputs if o.get("name") == "stderr"]


def test_it_runs_and_reaches_the_same_decision(tmp_path: Path) -> None:
    from nbclient import NotebookClient

    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
    for cell in code(notebook):  # quicker, and the same decision
        cell.source = cell.source.replace("train_items=200", "train_items=60").replace("=[0.5, 1, 2]", "=[1]")
    before = [[dict(output.get("data", {})) for output in cell.outputs] for cell in code(notebook)]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    after = [[dict(output.get("data", {})) for output in cell.outputs] for cell in code(notebook)]
    layer = next(place for place, cell in enumerate(code(notebook)) if cell.source.startswith("layer ="))
    assert after[layer] == before[layer]
    table = after[layer + 1][0]["text/html"]
    assert "sysprompt+caa" in table and "<caption>" in table
    best = after[layer + 2][0]["text/plain"].splitlines()[1].split()
    assert best[1] == "sysprompt"
    assert len(list((tmp_path / "reports").iterdir())) == 3
