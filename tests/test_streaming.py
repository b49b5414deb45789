"""Behaviors of very many pairs: the same items, splits, hashes and vectors as from memory, and little of it."""

from __future__ import annotations

import csv
import json
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from comparisons.dataset import records
from comparisons.dataset.behaviors import Behavior, Library
from comparisons.dataset.records import DiskItems
from comparisons.dataset.splits import draw
from comparisons.engine import choices
from comparisons.engine.activations import contrast_activations, contrast_means
from comparisons.util.errors import CompareError
from tests.places import record
from tests.tiny import tiny_lm

pytestmark = pytest.mark.slow


def as_json(found: list[dict[str, Any]]) -> bytes:
    return json.dumps(found, indent=1, ensure_ascii=False).encode()


def as_jsonl(found: list[dict[str, Any]]) -> bytes:
    return b"\xef\xbb\xbf" + b"\n\n".join(json.dumps(one).encode() for one in found) + b"\n"


def as_csv(found: list[dict[str, Any]]) -> bytes:
    import io

    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(found[0]))
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue().encode()


FORMS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {"json": as_json, "jsonl": as_jsonl, "csv": as_csv}


def made(count: int) -> list[dict[str, Any]]:
    return [{**record(i), "template": f"t{i % 7}", "label": "é\u2028" if i % 2 else "ß"} for i in range(count)]


@pytest.fixture(params=sorted(FORMS))
def both(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Behavior, Behavior]:
    """A behavior from memory, and the same from disk."""
    path = tmp_path / f"many.{request.param}"
    path.write_bytes(FORMS[request.param](made(60)))
    whole = Library.open(path).behavior("many")
    monkeypatch.setattr(records, "LARGE", 0)
    return whole, Library.open(path).behavior("many")


def test_items_splits_and_hashes_are_those_from_memory(both: tuple[Behavior, Behavior]) -> None:
    whole, kept = both
    assert isinstance(whole.train, tuple) and isinstance(kept.train, DiskItems) and isinstance(kept.test, DiskItems)
    assert (tuple(kept.train), tuple(kept.test)) == (whole.train, whole.test)
    assert (kept.digest, kept.test_digest) == (whole.digest, whole.test_digest)
    for seed in (0, 1):
        ours, theirs = whole.with_dev(seed), kept.with_dev(seed)
        assert (tuple(theirs.train), tuple(theirs.dev)) == (ours.train, ours.dev)
        assert (theirs.digest, theirs.dev_digest) == (ours.digest, ours.dev_digest)
        assert tuple(draw(theirs.train, 9, seed)) == draw(ours.train, 9, seed)
    assert kept.train[3] == whole.train[3] and kept.train[-1] == whole.train[-1]
    assert tuple(kept.train[5:20:3]) == tuple(whole.train[5:20:3])
    assert tuple(kept.train.take([4, 0, 4])) == (whole.train[4], whole.train[0], whole.train[4])
    with pytest.raises(IndexError):
        kept.train[len(kept.train)]
    with pytest.raises(TypeError):
        pickle.dumps(kept.train)


def test_vectors_are_those_of_all_pairs_at_once(
    both: tuple[Behavior, Behavior], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, kept = both
    lm = tiny_lm()
    expected = contrast_means(lm, whole.train)
    monkeypatch.setattr(choices, "WINDOW", 7)
    found = contrast_means(lm, kept.train)
    assert found.counts == expected.counts
    torch.testing.assert_close(found.matching, expected.matching, atol=1e-6, rtol=1e-5)
    indices = [i for batch, _ in contrast_activations(lm, kept.train) for i in batch]
    assert sorted(indices) == list(range(len(kept.train)))
    monkeypatch.setattr(lm.config, "max_position_embeddings", 20)
    with pytest.raises(CompareError, match=f"of {len(kept.train)} contrast pairs exceed the 20 tokens"):
        contrast_means(lm, kept.train)


def test_a_file_that_changes_under_the_run_reads_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LARGE", 0)
    path = tmp_path / "many.jsonl"
    path.write_bytes(as_jsonl(made(20)))
    kept = records.read_items(path, "x")
    before = tuple(kept)
    path.write_bytes(b"")
    assert tuple(kept) == before


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("x.json", as_json(made(5))[:-40], "is not JSON, or is cut off"),
        ("x.json", b'{"a": 1}', "must hold a list of items, not an object"),
        ("x.json", b"[]", "holds no items"),
        ("x.json", b"[1]", "item 1 must be an object"),
        ("x.json", as_json([*made(2), {"question": ""}]), "item 3: field 'question'"),
        ("x.jsonl", as_jsonl(made(3))[:-9], "item 3: is not JSON, or is cut off"),
        ("x.jsonl", b'{"a": "\xff"}', "is not UTF-8"),
        ("x.jsonl", b"\n\n", "holds no items"),
        ("x.csv", as_csv(made(3)) + b"a,b,c,d,e,f,g,h,i\n", "item 4 has more cells"),
        ("x.csv", as_csv(made(3)).replace(b"template", b"label"), "two columns have one name"),
    ],
)
def test_what_is_wrong_in_a_large_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, line: str
) -> None:
    monkeypatch.setattr(records, "LARGE", 0)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CompareError, match=line) as raised:
        records.read_items(tmp_path / name, "x")
    assert str(tmp_path / name) in str(raised.value)


@pytest.mark.parametrize("kind", sorted(FORMS))
def test_memory_hardly_grows_with_the_number_of_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / f"many.{kind}"
    peaks: dict[tuple[int, int], int] = {}
    for count in (250, 2_000):
        path.write_bytes(FORMS[kind](made(count)))
        for large in (0, 1 << 40):
            monkeypatch.setattr(records, "LARGE", large)
            tracemalloc.start()
            behavior = Library.open(path).behavior("many").with_dev(0)
            assert behavior.digest and len(behavior.train) + len(behavior.dev) + len(behavior.test) == count
            peaks[large, count] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    kept, whole = (peaks[large, 2_000] - peaks[large, 250] for large in (0, 1 << 40))
    # Places and ranks of the items stay in memory, their texts don't.
    assert kept < whole / 3 and kept < 400 * 1_750
