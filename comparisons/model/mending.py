"""What a chat template makes of a probe, and how it must be used so that a model reads what it is to be asked.

A template may drop a text, change it, or end where no answer begins; transformers then renders it all the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comparisons.model.template import ASKING, DATE, THINKS, Template, pin_of, source_of
from comparisons.model.thoughts import closing, empty, marks, without_tags
from comparisons.util.errors import CompareError

QUESTION = "Is it so that 1 < 2 & 3 > 2, or isn't it \"so\"?\n\nChoices:\n (A) Yes, it's so.\n (B) No, it isn't."
SYSTEM = 'Answer as one who\'d say "1 < 2 & 3 > 2".\nBe brief.'
RENDERED = 8
"""Times that the same messages are rendered, to see whether a template draws at random."""
ANSWER = "It's as you'd say."
EARLIER = ({"role": "user", "content": "Who's there?"}, {"role": "assistant", "content": "It's me."})
ASKED = {"role": "user", "content": QUESTION}
LONG = 100
"""Times that the question stands in one which shows whether a template cuts texts off."""

HEADER = re.compile(r"[>|\]]\s*(?:assistant|model|bot|chatbot|ai|gpt)[ \t]*\Z|<[^<>\s]*\Z", re.IGNORECASE)
"""The end of a prompt whose last turn's role is not closed, or whose last token is cut off."""

TURN_END = re.compile(r"(?:</s>|<(?![^<>]*(?:think|thought|header))[^<>]*(?:end|eot|eom|eos|turn)[^<>]*>)$", re.I)

ANSWERS_MARK = re.compile(r"<[^<>/]*(?:response|answer|final)[^<>/]*>\Z", re.IGNORECASE)

SWITCHES = (("detailed thinking on", "detailed thinking off"), ("/think", "/no_think"))
"""Words of a system text that turn thoughts on, and off."""

THINKS_UNTOLD = re.compile(r"(?:^|[-_. ])(?:r1|think|thinker|thinking|reasoner|reasoning)(?:$|[-_. ])", re.IGNORECASE)
"""In the names of models that think whatever they are told."""

LLAMA3 = "<|start_header_id|>"
"""In the templates of Llama 3's: those that cut thoughts and write none are the first Nemotrons'."""

DEEPSEEK = "<｜Assistant｜>"
"""Before answers in the templates of DeepSeek's: those that know thoughts and aren't told of them are R1's first."""

BASE = "use --prompt-format base."


@dataclass(frozen=True)
class Finding:
    """What a trial of a template showed.

    Attributes:
        template: how it is to be used.
        ends: the token that it writes behind an answer, where that is a special one.
        notes: what is to be said of it, a line each.
        opens: what a thought begins with that is left to the model, which may have none; empty where none is.
        stops: what begins the user's next turn, where no special token stands before it.
    """

    template: Template
    ends: tuple[int, ...]
    notes: tuple[str, ...]
    opens: str = ""
    stops: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Trial:
    """A tokenizer whose template is tried.

    Attributes:
        tokenizer: the model's.
        name: of the model.
        thinks: whether it is said to think, where nothing else tells.
    """

    tokenizer: Any
    name: str
    thinks: bool = False

    def text(self, template: Template, system: str | None, *turns: Mapping[str, str]) -> str | None:
        """What is rendered; None where the template raises."""
        text: str | None = _unless_it_raises(lambda: template.render(self.tokenizer, system, turns))
        return text

    def shown(self, template: Template, system: str | None, *turns: Mapping[str, str]) -> bool:
        """Whether all that the template is given stands in what it renders."""
        text = self.text(template, system, *turns)
        wanted = [turn["content"] for turn in turns] + [system or ""]
        return text is not None and all(each in text for each in wanted)

    def refused(self, why: str) -> CompareError:
        return CompareError(f"the chat template of {self.name} {why}: {BASE}")


def find(tokenizer: Any, name: str, thinks: bool = False) -> Finding:
    """Tries a chat template, and finds how it must be used.

    Args:
        tokenizer: the model's.
        name: of the model.
        thinks: whether the model is said to think.

    Raises:
        CompareError: there is no use of it in which the model reads the question, the system text and where the
            answer begins.
    """
    trial = _Trial(tokenizer, name, thinks)
    template = _dated(trial, _quiet(trial, _system(trial, _content(trial))))
    if len({trial.text(template, SYSTEM, ASKED) for _ in range(RENDERED)}) > 1:
        raise trial.refused("writes the same messages now so, now otherwise")
    template = replace(template, turns=trial.shown(template, SYSTEM, *EARLIER, ASKED))
    template, added = _ended(trial, template)
    _check_tokens(trial, template)
    template = _begun_once(trial, template)
    left = _left_to_model(trial, template, _tail(trial, template))
    ends, notes = _turn_end(trial, template), tuple(_notes(trial, template, added))
    return Finding(template, ends, notes, left[0] if left else "", () if ends else _next_turn(trial, template))


def _content(trial: _Trial) -> Template:
    """With a question as a text, or else as a list of parts."""
    long = {**ASKED, "content": "\n".join([QUESTION] * LONG)}
    for template in (Template(), Template(parts=True)):
        if trial.shown(template, None, ASKED) and trial.shown(template, None, long):
            return template
    try:
        Template().render(trial.tokenizer, None, (ASKED,))
    except Exception as error:  # of the template, which is anybody's code
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
        raise trial.refused(f"can't be used ({why})") from error
    raise trial.refused("drops or changes the question")


def _system(trial: _Trial, template: Template) -> Template:
    """With a system text as a message of its own, or else at the head of the first question."""
    for each in (template, replace(template, folded=True)):
        if trial.shown(each, SYSTEM, ASKED):
            return each
    raise trial.refused("drops or changes a system text, in the user's turn too")


def _quiet(trial: _Trial, template: Template) -> Template:
    """With the words that turn thoughts off, where the template leaves that to a system text."""
    if _is_told(trial, template):
        return template
    for _, off in _switched(trial.tokenizer):
        if trial.shown(replace(template, switch=off), SYSTEM, ASKED):
            return replace(template, switch=off)
    return template


def _is_told(trial: _Trial, template: Template) -> bool:
    """Whether the template is told by a name that the model is to think."""
    ways = [template.told({name: True}) for name in (THINKS, "thinking")]
    return any(
        trial.text(way, system, ASKED) != trial.text(template, system, ASKED)
        for way in ways
        for system in (SYSTEM, None)
    )


def _switched(tokenizer: Any) -> list[tuple[str, str]]:
    """The words by which a system text turns thoughts on and off, of those that the template or the family knows."""
    source = source_of(tokenizer)
    # Templates of the first Nemotrons hand these words on without naming them.
    early = LLAMA3 in source and "</think>" in source and "<think>" not in source
    pairs = [pair for pair in SWITCHES if pair[1] in source or (pair[0] in source and " " in pair[0])]
    return pairs or ([SWITCHES[0]] if early else [])


def _dated(trial: _Trial, template: Template) -> Template:
    """With a fixed date, where it would ask for today's: of other days it may print nothing, or another greeting."""
    source = source_of(trial.tokenizer)
    if "strftime_now" not in source:
        return template
    ways = (template, *(template.told({name: True}) for name in (THINKS, "thinking")))
    given = [(system, turns) for system in (None, SYSTEM) for turns in ((ASKED,), (*EARLIER, ASKED))]
    asks = any(
        trial.text(way, system, *turns) is not None and trial.text(replace(way, pin=ASKING), system, *turns) is None
        for way in ways
        for system, turns in given
    )
    return replace(template, pin=pin_of(source)) if asks else template


def _ended(trial: _Trial, template: Template) -> tuple[Template, str]:
    """With an end behind which the answer begins, and what was done to it in words.

    How the template writes an answer that is given tells what stands before it.
    """
    tail, written = _tail(trial, template), _before_answer(trial, template)
    known, header, beyond = written is not None, "", ""
    if written is None:
        pass
    elif written.startswith(tail):
        header = written.removeprefix(tail)
    elif tail.startswith(written.rstrip()):
        beyond = tail.removeprefix(written.rstrip(" ")).removeprefix(written.rstrip())
    elif not tail.strip():
        header = written.lstrip()
    else:
        known = False
    if TURN_END.fullmatch(beyond.strip()) or (beyond and beyond.strip() == trial.tokenizer.eos_token):
        return replace(template, cut=beyond), f"ends a turn before the answer: {beyond.strip()} is left out"
    # A blank behind the header is the answer's first token's; a line's end is not.
    header = header.rstrip(" ")
    closed = closing(tail + header, source_of(trial.tokenizer))
    if not known and not closed and _is_unfinished(trial, template, tail):
        raise trial.refused(f"ends in {tail.strip()[-40:]!r}, where no answer begins")
    said = f"ends before the answer begins: {header!r} is added" if header else ""
    if closed:
        said = f"ends in an open thought: {header + closed!r} closes it"
    elif (left := _left_to_model(trial, template, tail + header)) and _begins(trial):
        closed = empty(*left)
        said = f"leaves the thought to the model: an empty one, {closed!r}, stands before the answer"
        header, closed = header[: len(header) - len(mark := _answers_mark(header))], closed + mark
    elif without_tags(beyond).strip():
        said = f"begins the answer itself, by {beyond.strip()!r}: what is asked for follows it"
    return replace(template, ending=header + closed), said


def _answers_mark(header: str) -> str:
    """The tag at a header's end that opens the answer, behind a thought if there is one (Command A's)."""
    found = ANSWERS_MARK.search(header)
    return found[0] if found else ""


def _left_to_model(trial: _Trial, template: Template, tail: str) -> tuple[str, str] | None:
    """The marks of a thought that is left to the model, as its template tells by what it cuts from earlier turns.

    None where the template is told of thoughts, or has written one.
    """
    found = marks(source_of(trial.tokenizer))
    return None if not found or found[1] in tail or template.switch or _is_told(trial, template) else found


def _begins(trial: _Trial) -> bool:
    """Whether the model is known to begin thoughts itself: a template may serve others too."""
    named = THINKS_UNTOLD.search(trial.name.rstrip("/").rpartition("/")[2])
    return trial.thinks or DEEPSEEK in source_of(trial.tokenizer) or named is not None


def _tail(trial: _Trial, template: Template) -> str:
    text = trial.text(template, None, ASKED) or ""
    return text[text.rindex(QUESTION) + len(QUESTION) :]


def _before_answer(trial: _Trial, template: Template) -> str | None:
    """What the template writes between a question and its answer; None where it doesn't show both."""
    behind = _answered(trial, template).rpartition(QUESTION)[2]
    return behind.split(ANSWER)[0] if ANSWER in behind else None


def _turn_end(trial: _Trial, template: Template) -> tuple[int, ...]:
    """The special token with which the template ends an answer's turn."""
    behind = _answered(trial, template).rpartition(ANSWER)[2].lstrip()
    ids = list(trial.tokenizer(behind, add_special_tokens=False)["input_ids"])[:1]
    added = getattr(trial.tokenizer, "added_tokens_decoder", {})
    special = {*trial.tokenizer.all_special_ids, *(token for token, each in added.items() if each.special)}
    return tuple(token for token in ids if token in special)


def _next_turn(trial: _Trial, template: Template) -> tuple[str, ...]:
    """What the template writes between an answer and the next question, if it is more than blanks."""
    behind, shown, _ = _answered(trial, template, EARLIER[:1]).rpartition(ANSWER)[2].partition(EARLIER[0]["content"])
    mark = behind.strip() if shown else ""
    return (f"\n{mark}" if behind.startswith("\n") else mark,) if re.search(r"\w", mark) else ()


def _answered(trial: _Trial, template: Template, more: Sequence[Mapping[str, str]] = ()) -> str:
    """The text of a question that has its answer; empty where the template raises, or doesn't show the question."""
    messages = template.messages(None, (ASKED, {"role": "assistant", "content": ANSWER}, *more))
    text = _unless_it_raises(lambda: template.apply(trial.tokenizer, messages, tokenize=False, begins=False))
    return str(text) if text is not None and QUESTION in text else ""


def _is_unfinished(trial: _Trial, template: Template, tail: str) -> bool:
    """Whether a prompt ends with the question or its turn, or within the answer's header."""
    if not tail.strip() or HEADER.search(tail):
        return True
    messages = template.messages(None, (ASKED,))
    alone = _unless_it_raises(lambda: template.apply(trial.tokenizer, messages, tokenize=False, begins=False))
    eos = getattr(trial.tokenizer, "eos_token", None)
    ends = TURN_END.search(tail.rstrip()) is not None or bool(eos and tail.rstrip().endswith(eos))
    return ends and alone == trial.text(template, None, ASKED)


def _check_tokens(trial: _Trial, template: Template) -> None:
    """Raises CompareError where the text's tokens are not those that transformers makes of the messages."""
    messages = template.messages(SYSTEM, (ASKED,))
    text = template.apply(trial.tokenizer, messages, tokenize=False)
    made = template.apply(trial.tokenizer, messages, tokenize=True)
    ids = made["input_ids"] if isinstance(made, Mapping) or hasattr(made, "keys") else made
    if list(ids) != list(trial.tokenizer(text, add_special_tokens=False)["input_ids"]):
        raise trial.refused("is tokenized otherwise than its text is")


def _begun_once(trial: _Trial, template: Template) -> Template:
    """Without the second of two tokens that both begin the text."""
    first, token = trial.tokenizer.bos_token_id, trial.tokenizer.bos_token
    ids = trial.tokenizer(trial.text(template, None, ASKED), add_special_tokens=False)["input_ids"]
    twice = first is not None and list(ids[:2]) == [first, first]
    return replace(template, doubled=token) if twice else template


def _notes(trial: _Trial, template: Template, ended: str) -> list[str]:
    said = [
        (template.parts, "takes a turn's text in a list of parts, and is given it so"),
        (template.folded, "shows no system text of its own: one opens the first user turn instead"),
        (bool(template.pin), f"asks for today's date: {DATE:%Y-%m-%d} stands in its place"),
        (bool(template.switch), f"is told not to think by a system text: {template.switch!r} opens it"),
        (bool(template.doubled), f"begins with {template.doubled} twice: one is left out"),
        (bool(ended), ended),
        (not template.turns, "doesn't show earlier turns: examples can't be given"),
    ]
    own = _own_system(trial, template)
    said.append((bool(own), f"has a system prompt of its own, which a system text replaces: {own!r}"))
    return [f"the chat template of {trial.name} {text}." for holds, text in said if holds]


def _own_system(trial: _Trial, template: Template) -> str:
    """What stands before the question only where no system text is given, at most 80 characters of it."""
    plain, given = (trial.text(template, system, ASKED) or "" for system in (None, SYSTEM))
    before, told = plain[: plain.rindex(QUESTION)], given[: given.rindex(QUESTION)].replace(SYSTEM, "")
    start = _alike(before, told)
    rest, other = before[start:], told[start:]
    lost = rest[: len(rest) - _alike(rest[::-1], other[::-1])].strip()
    lost = lost if re.search(r"\w\W+\w", lost) else ""
    return lost if len(lost) <= 80 else f"{lost[:79]}…"


def _alike(left: Sequence[str], right: Sequence[str]) -> int:
    """How many characters two texts begin with alike."""
    shortest = min(len(left), len(right))
    return next((i for i in range(shortest) if left[i] != right[i]), shortest)


def _unless_it_raises(render: Callable[[], Any]) -> Any:
    """What is rendered; None where a template, which is anybody's code, raises whatever it does."""
    try:
        return render()
    except Exception:
        return None
