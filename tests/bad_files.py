"""Files with something wrong in each, and a part of the line that says so."""

from __future__ import annotations

import json
from typing import Any

from tests.places import record

ITEM: dict[str, Any] = record(1)


MANY = [record(index) for index in range(20)]


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def lines(*values: Any) -> bytes:
    return b"\n".join(text(value) for value in values)


def changed(**fields: Any) -> bytes:
    """Twenty items, of which the third has these fields; a field of None is left out."""
    third = {key: value for key, value in {**ITEM, **fields}.items() if value is not None}
    return text([*MANY[:2], third, *MANY[3:]])


DEEP = b"[" * 100_000


HUGE_NUMBER = b"9" * 5000


SURROGATE = b'"\\ud800"'


COLUMNS = b"question,answer_matching_behavior,answer_not_matching_behavior\n"


ITEMS: dict[str, tuple[str, bytes, str]] = {
    "empty file": ("x.json", b"", "not JSON"),
    "no items": ("x.json", b"[]", "holds no items"),
    "an object": ("x.json", b"{}", "must hold a list of items, not an object"),
    "a number": ("x.json", b"3", "must hold a list"),
    "cut off": ("x.json", text(MANY)[:200], "cut off"),
    "not UTF-8": ("x.json", b'["\xff"]', "not UTF-8"),
    "latin-1": ("x.csv", COLUMNS + "Caf\u00e9?,(A),(B)\n".encode("latin-1"), "save it as UTF-8"),
    "nested deep": ("x.json", DEEP, "can't be read"),
    "huge number": ("x.json", b"[" + HUGE_NUMBER + b"]", "can't be read"),
    "items that are none": ("x.json", b"[1, 2]", "item 1 must be an object"),
    "null item": ("x.json", b"[null]", "item 1 must be an object"),
    "half a surrogate": ("x.json", b'[{"question": ' + SURROGATE + b"}]", "surrogate"),
    "surrogate for a name": ("x.json", b"[{" + SURROGATE + b": 1}]", "field 'question' is missing"),
    "question missing": ("x.json", changed(question=None), "item 3: field 'question' is missing"),
    "question empty": ("x.json", changed(question=" "), "item 3: field 'question' is empty"),
    "question a number": ("x.json", changed(question=3), "must be text, not 3"),
    "question a list": ("x.json", changed(question=["a"]), "must be text, not a list"),
    "letter missing": ("x.json", changed(answer_matching_behavior=None), "'answer_matching_behavior' is missing"),
    "letter a word": ("x.json", changed(answer_matching_behavior="Yes"), "must be a letter such as (A)"),
    "letter and text": ("x.json", changed(answer_matching_behavior="A) Perhaps"), "must be a letter such as (A)"),
    "letters without choices": (
        "x.json",
        changed(question="Why? A) Yes B) No", answer_matching_behavior="A)"),
        "item 3: fields 'answer_matching_behavior' and 'answer_not_matching_behavior' are letters, but no choices",
    ),
    "letter not a choice": ("x.json", changed(answer_matching_behavior="(Z)"), "the choices are A, B"),
    "letters the same": ("x.json", changed(answer_not_matching_behavior="(A)"), "are both (A)"),
    "label an object": ("x.json", changed(label={"a": 1}), "'label' must be text or a number"),
    "one item": ("x.json", text([ITEM]), "it needs two"),
    "jsonl empty": ("x.jsonl", b"\n\n", "holds no items"),
    "jsonl second line": ("x.jsonl", lines(ITEM) + b"\n{oh", "item 2: is not JSON"),
    "jsonl an empty list": ("x.jsonl", b"[]", "holds no items"),
    "two lists": ("x.json", b'{"train": [{}], "test": [{}]}', 'keep one of "train", "test"'),
    "parquet of text": ("x.parquet", b"hello", "is not a parquet file"),
    "jsonl nested deep": ("x.jsonl", DEEP, "can't be read"),
    "csv empty": ("x.csv", b"", "holds no items"),
    "csv header only": ("x.csv", COLUMNS, "holds no items"),
    "csv more cells": ("x.csv", COLUMNS + b"a,(A),(B),d\n", "more cells"),
    "csv fewer cells": ("x.csv", COLUMNS + b"a\n", "is missing"),
    "csv a column twice": ("x.csv", b"question,question\na,b\n", "two columns have one name"),
    "csv open quote": ("x.csv", COLUMNS + b'"a,(A),(B)\n', "is not CSV"),
    "csv of null bytes": ("x.csv", b"\0\0\0\n\0,\0\n", "not UTF-8"),
    "csv a huge field": ("x.csv", COLUMNS + b"a" * 200_000 + b",(A),(B)\n", "is not CSV"),
    "claim without label": ("x.json", text([{"statement": "Snow is white."}]), "'label' must be true or false"),
    "another kind of file": ("x.yaml", b"a: 1", "unknown kind of file"),
}
"""What a file of items holds, and what is said of it."""


TEXTS: dict[str, tuple[bytes, str]] = {
    "a list": (b"[]", "must hold an object"),
    "not JSON": (b"{", "not JSON"),
    "nested deep": (b'{"truth": ' + DEEP, "can't be read"),
    "unknown field": (b'{"sytem_prompts": {}}', "Did you mean system_prompts"),
    "one prompt": (b'{"system_prompts": {"pos": "a"}}', "the fields pos and neg"),
    "a blank prompt": (b'{"system_prompts": {"pos": "a", "neg": " "}}', "'neg' is empty"),
    "a number for a prompt": (b'{"system_prompts": {"pos": "a", "neg": 1}}', "must be text"),
    "a surrogate": (b'{"rubric": ' + SURROGATE + b"}", "surrogate"),
    "a surrogate in truth": (b'{"truth": {"a": ' + SURROGATE + b"}}", "surrogate"),
    "a text for truth": (b'{"truth": "yes"}', "must be an object"),
    "paraphrases a list": (b'{"paraphrases": []}', "the fields pos and neg"),
}
"""What behavior.json holds, and what is said of it."""


PROMPTS: dict[str, tuple[bytes, str]] = {
    "no list": (b"{}", "must hold a list"),
    "no question": (b'[{"prompt": "a"}]', "field 'question' is missing"),
    "blank": (b'[{"question": ""}]', "is empty"),
    "template a list": (b'[{"question": "a", "template": []}]', "'template' must be text"),
}
"""What a file of open-ended prompts holds, and what is said of it."""


KNOWLEDGE: dict[str, tuple[bytes, str]] = {
    "no list": (b"3", "must hold a list"),
    "no correct": (b'[{"prompt": "a"}]', "field 'correct' is missing"),
    "both the same": (b'[{"prompt": "a", "correct": "(A)", "incorrect": "(A)"}]', "are both (A)"),
}
"""What a file of knowledge questions holds, and what is said of it."""


VECTORS: dict[str, tuple[str, bytes, str]] = {
    "safetensors empty": ("x.safetensors", b"", "safetensors"),
    "safetensors of text": ("x.safetensors", b"hello there, you", "safetensors"),
    "safetensors header of terabytes": ("x.safetensors", (1 << 42).to_bytes(8, "little") + b"{}", "safetensors"),
    "safetensors tensor of terabytes": (
        "x.safetensors",
        (73).to_bytes(8, "little")
        + b'{"layer_1":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]}} '
        + b"0000",
        "safetensors",
    ),
    "gguf empty": ("x.gguf", b"", "GGUF"),
    "gguf header only": ("x.gguf", b"GGUF", "GGUF"),
    "gguf of a later version": ("x.gguf", b"GGUF" + (99).to_bytes(4, "little") + bytes(16), "GGUF"),
    "gguf of terabytes": ("x.gguf", b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 16, "GGUF"),
    "pt empty": ("vec_layer_1.pt", b"", "torch file"),
    "pt of text": ("vec_layer_1.pt", b"hello", "torch file"),
    "pt half a zip": ("vec_layer_1.pt", b"PK\x03\x04" + b"\xff" * 60, "torch file"),
    "npz": ("x.npz", b"PK\x03\x04", "unknown kind of file"),
    "json": ("x.json", b"{}", "unknown kind of file"),
}
"""What a file of another program's vectors holds, and what is said of it."""


RUN_FILES: dict[str, tuple[str, bytes, str]] = {
    "summary gone": ("summary.json", b"", "summary.json"),
    "summary a list": ("summary.json", b"[]", "summary.json"),
    "summary without rows": ("summary.json", b"{}", "summary.json"),
    "summary nested deep": ("summary.json", DEEP, "summary.json"),
    "summary of a huge number": ("summary.json", b'{"rows": ' + HUGE_NUMBER + b"}", "summary.json"),
    "summary of surrogates": ("summary.json", b'{"rows": [' + SURROGATE + b"]}", "summary.json"),
    "summary rows of text": ("summary.json", b'{"rows": ["a"]}', "summary.json"),
    "summary not UTF-8": ("summary.json", b"\xff", "summary.json"),
    "run a list": ("run.json", b"[]", "run.json"),
    "run nested deep": ("run.json", DEEP, "run.json"),
    "run of a surrogate": ("run.json", b'{"sha256": "a", "a": ' + SURROGATE + b"}", "run.json"),
    "choices a list": ("choices.json", b"[]", "choices.json"),
    "choices of text": ("choices.json", b'{"choices": ["a"]}', "choices.json"),
    "intervention a list": ("best/intervention.json", b"[]", "intervention.json"),
    "intervention nested deep": ("best/intervention.json", DEEP, "intervention.json"),
    "intervention of nonsense": ("best/intervention.json", b'{"edits": 3}', "intervention.json"),
}
"""A file of a finished run, what it holds instead, and what `compare report` says of it."""
