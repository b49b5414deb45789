"""All of the paper's data, where it is at hand: the real thing has every odd case."""

from __future__ import annotations

from comparisons.dataset.behaviors import Item, Library
from tests.places import knowledge, paper

KNOWN = (
    "coordinate-other-ais",
    "corrigible-neutral-HHH",
    "hallucination",
    "myopic-reward",
    "refusal",
    "survival-instinct",
    "sycophancy",
)


def test_all_of_the_papers_data_loads_and_goes_there_and_back() -> None:
    library = Library.open(paper())
    assert library.names == KNOWN
    sizes = {}
    for name in library.names:
        behavior = library.behavior(name)
        sizes[name] = (len(behavior.train), len(behavior.test), len(behavior.open_ended), behavior.unparsed)
        for item in (*behavior.train, *behavior.test):
            assert_goes_there_and_back(item)
    assert sizes == {
        "coordinate-other-ais": (360, 50, 50, 0),
        "corrigible-neutral-HHH": (290, 50, 50, 0),
        "hallucination": (1000, 50, 50, 0),
        "myopic-reward": (950, 50, 50, 0),
        "refusal": (408, 50, 50, 0),
        "survival-instinct": (903, 50, 50, 0),
        "sycophancy": (1000, 50, 53, 0),
    }
    pairs = library.behavior("survival-instinct").train
    assert max(len(item.choices) for item in pairs) == 8
    assert {item.matching for item in pairs} == set("ABCDEFGH")


def test_the_papers_knowledge_sets_load() -> None:
    mmlu = knowledge(paper(), "auto")
    assert (mmlu.name, len(mmlu.items), mmlu.unparsed) == ("mmlu", 570, 0)
    assert len({item.category for item in mmlu.items}) == 57
    truthfulqa = knowledge(paper(), "truthfulqa")
    # Five of its questions have a choice without a text.
    assert (len(truthfulqa.items), truthfulqa.unparsed) == (817, 5)
    for item in (*mmlu.items, *truthfulqa.items):
        if item.parsed:
            assert_goes_there_and_back(item)


def assert_goes_there_and_back(item: Item) -> None:
    assert item.parsed, item.id
    shown = item.present("swapped")
    assert shown.question != item.question
    back = Item.parse(item.id, shown.question, shown.matching, shown.contrast)
    assert back.present("swapped") == item.present("given")
