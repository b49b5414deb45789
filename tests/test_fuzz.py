"""Readers of files meet bytes that nobody meant: a value or a CompareError, within bounded time and memory."""

from __future__ import annotations

import json
import os
import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pytest
import torch
from pyarrow import parquet

from comparisons.dataset.records import read_items, read_prompts, read_records
from comparisons.dataset.texts import read_texts
from comparisons.method.vector_files import Vectors, save_vectors
from comparisons.util.errors import CompareError
from comparisons.util.files import read_sealed, write_sealed
from comparisons.vectors.exchange import read_foreign, write_gguf
from tests.places import record

SLICE = 60
"""Tries a reader in an ordinary run of the tests; `SOAK_FUZZ` of them in a soak."""
SECONDS, ROOM = 5.0, 2 << 30
NASTY = (
    *(b"[" * 20_000, b'{"a":' * 5_000, b"9" * 5_000, b"1e999", b"NaN", b'"\\ud800"', b"\0" * 64, b"\xff" * 16),
    *(b'"' + b"a" * 200_000 + b'"', (1 << 62).to_bytes(8, "little"), (1 << 40).to_bytes(8, "little"), b"\xf0\x9f"),
)

Reader = Callable[[Path], object]
READERS: dict[str, Reader] = {
    "items.json": lambda path: read_items(path, "x"),
    "items.jsonl": lambda path: read_items(path, "x"),
    "items.csv": lambda path: read_items(path, "x"),
    "items.tsv": lambda path: read_items(path, "x"),
    "items.parquet": lambda path: read_items(path, "x"),
    "known.jsonl": read_records,
    "prompts.json": read_prompts,
    "behavior.json": lambda path: read_texts(path, "refusal"),
    "sealed.json": lambda path: read_sealed(path, "a file"),
    "vectors.safetensors": lambda path: read_foreign([path]),
    "vectors.gguf": lambda path: read_foreign([path]),
    "vec_layer_1.pt": lambda path: read_foreign([path]),
}


def valid(name: str, folder: Path) -> bytes:
    """A sound file of a kind."""
    path, items = folder / name, [record(index) for index in range(4)]
    vectors = Vectors({1: torch.ones(8), 2: torch.ones(8)})
    if name.endswith((".csv", ".tsv")):
        table = b"question,answer_matching_behavior,answer_not_matching_behavior\n" + b'"a\n(A) b\n(B) c",(A),(B)\n' * 3
        return table if name.endswith(".csv") else table.replace(b",", b"\t")
    if name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(items), path)
        return path.read_bytes()
    if name == "known.jsonl":
        return json.dumps({"data": items}, indent=1).encode()
    if name.endswith(".jsonl"):
        return "\n".join(map(json.dumps, items)).encode()
    if name == "behavior.json":
        return json.dumps({"rubric": "r", "system_prompts": {"pos": "a", "neg": "b"}, "truth": {"a": 1}}).encode()
    if name == "sealed.json":
        write_sealed(path, {"rows": [1, "a"]})
    elif name.endswith(".safetensors"):
        save_vectors(path, vectors)
    elif name.endswith(".gguf"):
        write_gguf(path, vectors)
    elif name.endswith(".pt"):
        torch.save(torch.ones(8), path)
    else:
        return json.dumps(items).encode()
    return path.read_bytes()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with some changes: none, a cut, other bytes, something nasty, a repeated part, or all at random."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place, kind = chance.randrange(len(found) + 1), chance.randrange(6)
        if kind == 0:
            del found[place:]
        elif kind == 1 and place < len(found):
            found[place] = chance.randrange(256)
        elif kind == 2:
            found[place:place] = chance.choice(NASTY)
        elif kind == 3:
            nasty = chance.choice(NASTY)
            found[place : place + len(nasty)] = nasty
        elif kind == 4:
            found[place:place] = found[max(0, place - 40) : place] * chance.randint(1, 50)
        elif chance.random() < 0.1:
            found = bytearray(chance.randbytes(chance.randrange(400)))
    return bytes(found)


@contextmanager
def bounded() -> Iterator[None]:
    """Memory beyond what the process has is limited."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def fuzz(name: str, folder: Path, tries: int, seed: int) -> None:
    chance, data, path = random.Random(f"{seed} {name}"), valid(name, folder), folder / name
    path.write_bytes(data)
    READERS[name](path)
    with bounded():
        for number in range(tries):
            # Another file: a reader may hold the last one mapped.
            path.unlink()
            path.write_bytes(mutated(data, chance))
            started = time.monotonic()
            try:
                READERS[name](path)
            except CompareError as error:
                assert "\n" not in str(error) and len(str(error)) < 2000, (number, str(error)[:300])
            assert time.monotonic() - started < SECONDS, number


linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is read from /proc")


@linux
@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_a_value_or_a_line(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, SLICE, 0)


@linux
@pytest.mark.soak
@pytest.mark.parametrize("name", READERS)
def test_any_bytes_soak(name: str, tmp_path: Path) -> None:
    fuzz(name, tmp_path, int(os.environ.get("SOAK_FUZZ", "5000")), int(os.environ.get("SOAK_SEED", "1")))
