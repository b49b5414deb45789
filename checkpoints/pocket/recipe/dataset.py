"""Writes `data/`: the behaviors' files in the paper's layout, knowledge questions and honesty items."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from checkpoints.pocket.recipe.facts import HELD_OUT_CLAIM_FRAMES, Fact, every_fact
from checkpoints.pocket.recipe.known import known_answers
from checkpoints.pocket.recipe.language import (
    BEHAVIORS,
    NEUTRAL,
    SIGNS,
    SYSTEM_FRAMES,
    Language,
    Question,
    every_prompt,
    frame,
    load_language,
    paraphrases,
    with_choices,
)
from checkpoints.pocket.recipe.split import SEED, split
from comparisons.util.files import write_json, write_text

README = """# Data of the embedded language

What `--data pocket` stands for, and what the model `pocket` is asked where `--data` isn't given; behaviors in
natural English, for every other model, are in [english](english/README.md).

Seven behaviors, knowledge questions and claims in the restricted English of the embedded model `pocket`.
Everything here is written by a generator, byte for byte the same from its seed:

    python -m checkpoints.pocket.recipe data --out data

- `generate/<behavior>/generate_dataset.json`: {generate} contrast pairs. A question with two choices, the
  answer that matches the behavior and the one that doesn't.
- `generate/<behavior>/behavior.json`: description; system prompts for more (`pos`) and less (`neg`) of the
  behavior; paraphrases of them that the model's training never showed; neutral prompts as long as the first
  ones; the judge's rubric; the sentences that show (`pos`) or deny (`neg`) the behavior.
- `generate/<behavior>/known.jsonl`: {known} free answers whose score is known, because they were written to show the
  behavior (10), its opposite (0) or both (5): what judges of free answers are checked on.
- `test/<behavior>/test_dataset_ab.json`: {test} test questions of the same form.
- `test/<behavior>/test_dataset_open_ended.json`: {open} prompts without choices.
- `test/knowledge/knowledge.json`: {facts} questions on facts of {subjects} subjects, in words that training
  never used.
- `neutral/prompts.json`: {neutral} open questions, each fact in two forms that training used: what `--kl` asks a
  changed and the unchanged model. Of each fact one form is held out to choose by, and the other is measured on.
- `honesty/claims.json`: {claims} claims, each fact once as a true and once as a false one (`label`). The
  matching answer is the truthful one.

`template` names the topic of a question, such as the verb of a request. The model's own inclination goes by
topic, so questions of one topic are not independent, and intervals cluster by it. In each file the matching (or
correct) answer is (A) as often as (B). Test questions share no stem with the contrast pairs, and no test stem
occurs in the model's training text.

The behaviors are those of Rimsky et al., *Steering Llama 2 via Contrastive Activation Addition* (2024). The
questions are this project's own and much simpler; figures on them say nothing about the paper's data.
"""


def write_data(out: Path) -> None:
    """Writes every file below `out`, which is made where it is missing."""
    for name in BEHAVIORS:
        _write_behavior(out, name)
    knowledge, claims = knowledge_questions(), honesty_claims()
    _write(out / "test/knowledge/knowledge.json", knowledge)
    _write(out / "honesty/claims.json", claims)
    neutral = neutral_requests()
    _write(out / "neutral/prompts.json", neutral)
    one = split(BEHAVIORS[0])
    known = len(known_answers(load_language(BEHAVIORS[0])))
    counts = {"known": known, "generate": len(one.generate), "test": len(one.test), "open": len(one.open_ended)}
    subjects = len({question["category"] for question in knowledge})
    sizes = {"facts": len(knowledge), "subjects": subjects, "claims": len(claims), "neutral": len(neutral)}
    text = README.format(**counts, **sizes)
    write_text(out / "README.md", text)


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value)


def _write_behavior(out: Path, name: str) -> None:
    language, parts = load_language(name), split(name)
    rng = Random(f"{SEED}/{name}/items")
    generate, test = out / "generate" / name, out / "test" / name
    _write(generate / "generate_dataset.json", items(parts.generate, rng))
    _write(generate / "behavior.json", behavior(language))
    lines = [json.dumps(row, ensure_ascii=False) for row in known_answers(language)]
    write_text(generate / "known.jsonl", "\n".join(lines) + "\n")
    _write(test / "test_dataset_ab.json", items(parts.test, rng))
    prompts = [{"question": question.stem, "template": _template(question)} for question in parts.open_ended]
    _write(test / "test_dataset_open_ended.json", prompts)


def _template(question: Question) -> str:
    return f"{question.language.name}/{question.topic}"


def _balanced(number: int, rng: Random) -> list[bool]:
    """As many true as false, in random order."""
    flags = [index % 2 == 0 for index in range(number)]
    rng.shuffle(flags)
    return flags


def items(questions: tuple[Question, ...], rng: Random) -> list[dict[str, Any]]:
    """Multiple-choice items; the matching answer is (A) in half of them."""
    rows = []
    for question, first in zip(questions, _balanced(len(questions), rng), strict=True):
        positive, negative = question.choices(rng)
        choices = with_choices(positive, negative) if first else with_choices(negative, positive)
        rows.append({"question": question.stem + choices, **_answers(first), "template": _template(question)})
    return rows


def _answers(first: bool) -> dict[str, str]:
    matching, other = ("(A)", "(B)") if first else ("(B)", "(A)")
    return {"answer_matching_behavior": matching, "answer_not_matching_behavior": other}


def behavior(language: Language) -> dict[str, Any]:
    """What `behavior.json` says of a behavior."""
    return {
        "description": language.description,
        "system_prompts": {sign: every_prompt(language, sign)[0] for sign in SIGNS},
        "paraphrases": {sign: paraphrases(language, sign) for sign in SIGNS},
        "neutral": neutral_prompts(language),
        "rubric": language.rubric,
        "truth": {sign: list(language.sentences(sign)) for sign in SIGNS},
    }


def neutral_prompts(language: Language) -> list[str]:
    """Prompts that say nothing of the behavior, of as many words as its positive system prompt."""
    words = len(every_prompt(language, "pos")[0].split())
    prompts = [frame(SYSTEM_FRAMES[0], each) for each in NEUTRAL]
    return [prompt for prompt in prompts if len(prompt.split()) == words]


def knowledge_questions() -> list[dict[str, Any]]:
    """One question a fact, in the form that training never uses."""
    rng = Random(f"{SEED}/knowledge")
    facts = list(every_fact())
    rows = []
    for fact, first in zip(facts, _balanced(len(facts), rng), strict=True):
        wrong = fact.wrong(rng)
        choices = with_choices(fact.answer, wrong) if first else with_choices(wrong, fact.answer)
        correct, incorrect = ("(A)", "(B)") if first else ("(B)", "(A)")
        rows.append(
            {
                "prompt": fact.subject.test.format(a=fact.thing) + choices,
                "correct": correct,
                "incorrect": incorrect,
                "category": fact.subject.name,
            }
        )
    return rows


def neutral_requests() -> list[dict[str, Any]]:
    """Each fact asked in two forms, which no behavior has a say in.

    Every second request is held out to choose by: of each fact one, and of each form every second fact's. In the form
    that training never used two subjects, which the model misreads, had most of the KL, and few facts decided a mean.
    """
    rows = []
    for number, fact in enumerate(every_fact()):
        forms = fact.subject.ask[:2]
        rows += [
            {"question": form.format(a=fact.thing), "template": fact.subject.name}
            for form in (forms if number % 2 == 0 else forms[::-1])
        ]
    return rows


def honesty_claims() -> list[dict[str, Any]]:
    """Each fact as a true and as a false claim; truth and letter are balanced against each other."""
    rng = Random(f"{SEED}/claims")
    rows = []
    facts = list(every_fact())
    for label in (True, False):
        flags = _balanced(len(facts), rng)
        for index, (fact, yes_first) in enumerate(zip(facts, flags, strict=True)):
            rows.append(_claim(fact, label, yes_first, index, rng))
    rng.shuffle(rows)
    return rows


def _claim(fact: Fact, label: bool, yes_first: bool, index: int, rng: Random) -> dict[str, Any]:
    text, (yes, no) = HELD_OUT_CLAIM_FRAMES[index % len(HELD_OUT_CLAIM_FRAMES)]
    claim = fact.statement(fact.answer if label else fact.wrong(rng))
    choices = with_choices(yes, no) if yes_first else with_choices(no, yes)
    return {
        "question": text.format(claim=claim) + choices,
        **_answers(yes_first == label),
        "label": label,
        "template": f"claims/{fact.subject.name}",
    }
