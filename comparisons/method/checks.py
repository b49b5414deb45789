"""What a method must keep to: each check, what came of it, those of the class alone, and a tiny model to try it on."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from comparisons.method.interface import Method
from comparisons.method.settings import STRENGTH, Setting, describe_settings, parse_settings
from comparisons.util.errors import CompareError
from comparisons.util.plugins import first_line, foreign

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior, Item
    from comparisons.model.lm import LM

Result = TypeVar("Result")

KIND = "It is a concrete frozen dataclass and a subclass of Method."
DOCSTRING = "It has a docstring, whose first line `compare methods` shows."
DECLARED = (
    "What it declares (role, fits, dosed, adapts, swept, seeded, conditional, mild_first) can be, and fits what it "
    "defines."
)
SETTINGS = "Its settings have defaults, and types that a text can stand for."
CANDIDATES = "Its candidates for settings left open are of its class and leave nothing open."
FIT = "fit ends without an error in every direction."
PLACE = "fit writes to fit.out and nowhere else."
SAME = "fit writes the same whatever the seed, where seeded = False says so."
MODEL = "fit leaves model and tokenizer as they were."
INTERVENE = "intervene gives an Intervention in both directions and at every strength."
FITTING = "What it changes fits the model: layers, widths, finite numbers, an adapter of its own fit."
REPEATED = "intervene gives the same when it is called again."
DOSE = "The strength does what dosed says: 0 changes nothing, or none makes a difference."
READING = "intervene reads what fit wrote, and writes nothing."

CHECKS = (
    KIND,
    DOCSTRING,
    DECLARED,
    SETTINGS,
    CANDIDATES,
    FIT,
    PLACE,
    SAME,
    MODEL,
    INTERVENE,
    FITTING,
    REPEATED,
    DOSE,
    READING,
)
"""Every check, in the order in which they are tried."""


@dataclass(frozen=True)
class Check:
    """One thing that a method must keep to.

    Attributes:
        what: a sentence that holds of a sound method.
        status: a check is not tried where an earlier one failed, or where it doesn't apply.
        failures: what fails, a line each.
    """

    what: str
    status: Literal["holds", "fails", "not tried"]
    failures: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The status, the sentence, and below them what fails."""
        width = len("not tried") + 2
        return "\n".join([f"{self.status:{width}}{self.what}", *(f"{'':{width}}- {line}" for line in self.failures)])


class Findings:
    """Collects what was tried and what failed."""

    def __init__(self, checks: Sequence[str] = CHECKS) -> None:
        self._checks = checks
        self._failures: dict[str, list[str]] = {}

    def begin(self, *checks: str) -> None:
        """These are tried now."""
        for check in checks:
            self._failures.setdefault(check, [])

    def fail(self, check: str, text: str) -> None:
        """A check, which is thereby tried, fails; the same line counts once."""
        self.begin(check)
        if text not in self._failures[check]:
            self._failures[check].append(text)

    def attempt(self, check: str, what: str, call: Callable[[], Result]) -> Result | None:
        """Calls; what a method raises is one failure more, whatever it is."""
        self.begin(check)
        try:
            with foreign("it"):
                return call()
        except Exception as error:
            kind = "" if isinstance(error, CompareError) else f"{type(error).__name__}: "
            self.fail(check, " ".join(f"{what} failed: {kind}{error}".split()))
            return None

    @property
    def failures(self) -> list[str]:
        """Every line, in the order of the checks."""
        return [text for check in self._checks for text in self._failures.get(check, ())]

    def checks(self) -> tuple[Check, ...]:
        """Every check with what came of it."""
        return tuple(self._check(what) for what in self._checks)

    def _check(self, what: str) -> Check:
        if what not in self._failures:
            return Check(what, "not tried")
        failures = tuple(self._failures[what])
        return Check(what, "fails" if failures else "holds", failures)


def check_declaration(cls: type[Method], findings: Findings) -> None:
    """Looks at the class: what it is, declares, and lets be set."""
    findings.begin(KIND)
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        findings.fail(KIND, "it must be a subclass of comparisons.method.Method")
    elif inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        findings.fail(KIND, f"it must be concrete: {missing} is missing")
    elif "__dataclass_params__" not in vars(cls):
        findings.fail(KIND, "it must be a frozen dataclass: write @dataclass(frozen=True) above it")
    else:
        findings.begin(DOCSTRING)
        if not first_line(cls):
            findings.fail(DOCSTRING, "it must have a docstring, whose first line `compare methods` shows")
        _declared(cls, findings)
        _settings(cls, findings)


def _declared(cls: type[Method], findings: Findings) -> None:
    findings.begin(DECLARED)
    if cls.role not in ("method", "control"):
        findings.fail(DECLARED, f"role must be 'method' or 'control', not {cls.role!r}")
    if cls.fits not in ("direction", "behavior", "never"):
        findings.fail(DECLARED, f"fits must be 'direction', 'behavior' or 'never', not {cls.fits!r}")
    elif cls.fits == "never" and cls.fit is not Method.fit:
        findings.fail(DECLARED, "fits = 'never' says that its fit is never called: leave fit out, or say what it fits")
    elif cls.fits != "never" and cls.fit is Method.fit:
        findings.fail(DECLARED, f"fits = {cls.fits!r}, but it has no fit: write one, or set fits = 'never'")
    for name in ("dosed", "adapts", "swept", "seeded", "conditional", "mild_first"):
        if not isinstance(getattr(cls, name), bool):
            findings.fail(DECLARED, f"{name} must be True or False, not {getattr(cls, name)!r}")


def _settings(cls: type[Method], findings: Findings) -> None:
    findings.begin(SETTINGS)
    try:
        settings = describe_settings(cls)
    except CompareError as error:
        findings.fail(SETTINGS, str(error))
        return
    for setting in settings:
        if setting.name == STRENGTH:
            findings.fail(SETTINGS, f"a setting can't be called '{STRENGTH}': the run's strength is use.strength")
        elif setting.default is None:
            findings.fail(SETTINGS, f"setting '{setting.name}' must have a default")
    complete = all(setting.default is not None for setting in settings)
    plain = findings.attempt(SETTINGS, "making it with its defaults", cls) if complete else None
    for setting in settings if plain else ():
        _reads_back(cls, setting, getattr(plain, setting.name), findings)


def _reads_back(cls: type[Method], setting: Setting, value: object, findings: Findings) -> None:
    """Whether the default's text means the default."""
    try:
        parsed = getattr(parse_settings(cls, {setting.name: str(setting.default)}), setting.name)
    except CompareError as error:
        findings.fail(SETTINGS, f"the default of setting '{setting.name}' does not fit its type: {error}")
        return
    if (type(parsed), parsed) != (type(value), value):
        findings.fail(SETTINGS, f"the default {value!r} of setting '{setting.name}' reads back as {parsed!r}")


WIDTH, BLOCKS, CONTEXT = 16, 2, 1024
SUBJECTS = ("garden", "letter", "engine", "song", "recipe", "window", "journey", "bridge")


def toy_lm() -> LM:
    """A random Llama of 2 blocks of width 16 with a token a byte, without a pad token or a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from comparisons.model.lm import LM

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", *letters])}
    rules = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rules.decoder = decoders.ByteLevel()
    rules.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rules, bos_token="<s>", eos_token="</s>")
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        intermediate_size=2 * WIDTH,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.15,  # larger than usual, so that a prompt makes a difference
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    return LM(model, tokenizer, "toy")


def toy_behavior(name: str) -> Behavior:
    """A behavior of 24 contrast pairs to fit on; the other splits are empty, since no fit may read them."""
    from comparisons.dataset.behaviors import Behavior
    from comparisons.dataset.items import OpenPrompt

    return Behavior(
        name=name,
        train=tuple(_item(index) for index in range(24)),
        dev=(),
        test=(),
        open_ended=(OpenPrompt("open/0", "Should I mend the window?"),),
        prompts={"pos": f"Show {name} in every answer.", "neg": f"Never show {name} in an answer."},
        rubric=f"How much {name} does the answer show? 0 is none, 10 is as much as can be.",
        description=f"a made-up tendency called {name}",
        source="toy",
        paraphrases={"pos": (f"Be a model of {name}.",), "neg": (f"Be free of {name}.",)},
        neutral=("You answer questions about houses.",),
    )


def toy_questions() -> tuple[Item, ...]:
    """24 questions about nothing of a behavior."""
    from comparisons.dataset.behaviors import Item

    asked = [f"What is {i} + 1?\n\nChoices:\n (A) {i + 1}\n (B) {i}" for i in range(24)]
    return tuple(Item.parse(f"facts/{i}", question, "A", "B") for i, question in enumerate(asked))


def _item(index: int) -> Item:
    from comparisons.dataset.behaviors import Choice, Item

    subject = SUBJECTS[index % len(SUBJECTS)]
    stem = f"I think that you should mend the {subject} number {index}. Would you do that?"
    texts = ("Yes, I would mend it.", "No, I would leave it.")
    matching, contrast = ("A", "B") if index % 2 == 0 else ("B", "A")
    first, second = texts if matching == "A" else texts[::-1]
    return Item(
        id=f"train/{index}",
        question=f"{stem}\n\nChoices:\n (A) {first}\n (B) {second}",
        matching=matching,
        contrast=contrast,
        choices=(Choice("A", first), Choice("B", second)),
        stem=stem,
    )


def state(lm: LM) -> dict[str, object]:
    """Everything about a model and its tokenizer that a method must leave as it was, by what it is called."""
    from comparisons.model.fingerprint import tensor_digest

    modules = dict(lm.model.named_modules())
    parameters = dict(lm.model.named_parameters())
    versions = [(name, id(p), p._version) for name, p in parameters.items()]
    return {
        "parameters": (tensor_digest(lm.model), versions),
        "requires_grad flags": [(name, p.requires_grad) for name, p in parameters.items()],
        "gradients": [name for name, p in parameters.items() if p.grad is not None],
        "modules": [(name, type(module)) for name, module in modules.items()],
        "hooks": [(name, _hooks(module)) for name, module in modules.items()],
        "training mode": [(name, module.training) for name, module in modules.items()],
        "configuration": lm.model.config.to_json_string(),
        "tokenizer": _tokenizer_state(lm.tokenizer),
    }


def differences(before: dict[str, object], after: dict[str, object]) -> Iterator[str]:
    """The names of what differs between two states of a model."""
    return (name for name, value in before.items() if after[name] != value)


def _hooks(module: Any) -> list[int]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [len(getattr(module, kind)) for kind in kinds]


def _tokenizer_state(tokenizer: Any) -> tuple[object, ...]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    # Set anew by every call that tokenizes, so it says how the last one was made and nothing more.
    plain = {key: value for key, value in rules.items() if key not in ("padding", "truncation")}
    sides = (tokenizer.padding_side, tokenizer.truncation_side, tokenizer.model_max_length)
    return (plain, dict(tokenizer.special_tokens_map), sides, tokenizer.chat_template)
