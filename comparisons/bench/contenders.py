"""Who is timed: the engine as a user's run calls it, and loops of one prompt and one setting a pass.

The steering-vectors library's loop is among them where that library is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from comparisons.intervention import Edit, Intervention

if TYPE_CHECKING:
    import torch

    from comparisons.bench.works import GivenAnswers, Work
    from comparisons.model.lm import LM
    from comparisons.model.prompts import ChoicePrompt


LIBRARY = "steering-vectors"

Steering = Callable[["LM", Edit, int], AbstractContextManager[object]]
"""Adds an edit to all tokens of a pass from one on, while the context lasts."""


def run_engine(lm: LM, work: Work) -> tuple[np.ndarray, int]:
    """Does a whole work by the engine's public functions.

    Returns:
        p_match or KL [questions, settings]; activations [pairs, 2, layers, width]; or answers [questions, settings] as
        an array of strings; and the tokens that were run.
    """
    from comparisons.engine import activations, choices, generate

    interventions = [Intervention(edits=(edit,)) for edit in work.settings]
    with lm.meter.counting() as counted:
        if work.kind == "activations":
            parts = list(activations.contrast_activations(lm, work.items))
            order = np.argsort([index for chosen, _ in parts for index in chosen])
            values = np.concatenate([part.numpy() for _, part in parts])[order]
        elif work.kind in ("choices", "texts"):
            values = p_match(choices.choice_logps(lm, work.questions, interventions).logits).T
        elif work.kind == "kl":
            values = engine_kl(lm, work)
        else:
            texts = [question.question for question in work.questions]
            values = np.array(generate.generate(lm, texts, interventions, work.new_tokens), dtype=object).T
    return values, sum(counted)


def p_match(logits: np.ndarray) -> np.ndarray:
    """From its logit, in float64."""
    chance: np.ndarray = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    return chance


@dataclass(frozen=True)
class Loop:
    """A contender that goes one by one.

    Attributes:
        name: what the table calls it.
        pair: block outputs at the letters of a pair, [2, layers, width].
        steering: how it steers.
    """

    name: str
    pair: Callable[[LM, ChoicePrompt], torch.Tensor]
    steering: Steering

    def run(self, lm: LM, work: Work, prompts: Sequence[Any], job: tuple[int, ...]) -> tuple[Any, int]:
        """Does one job of a work; returns the value, comparable to the engine's, and the tokens that were run."""
        prompt = prompts[job[0]]
        if work.kind == "activations":
            return self.pair(lm, prompt).float().cpu().numpy(), 2 * (len(prompt.ids) + 1)
        if work.kind == "kl":
            return loop_kl(lm, work, prompt, self.steering)
        steered = partial(self.steering, lm, work.settings[job[1]])
        if work.kind == "choices":
            # From the last prompt token on.
            with steered(prompt.prompt_end):
                logps = plain_pass(lm, prompt.ids).log_softmax(-1)[list(prompt.targets)]
            matching, contrast = logps.float().cpu().numpy()
            return p_match(matching - contrast), len(prompt.ids)
        if work.kind == "texts":
            matching, contrast = (text_logp(lm, text, prompt, steered) for text in prompt.texts)
            return p_match(np.array(matching - contrast)), sum(map(len, prompt.texts))
        ids, tokens = greedy(lm, prompt, work.new_tokens, steered)
        return lm.tokenizer.decode(ids, skip_special_tokens=True).strip(), tokens


def plain_pass(lm: LM, ids: Sequence[int]) -> torch.Tensor:
    """Logits of one prompt's last token, with nothing added: the unit in which other times are told."""
    import torch

    with torch.no_grad():
        logits: torch.Tensor = lm.model(torch.tensor([list(ids)], device=lm.device)).logits[0, -1].float()
    return logits


@contextmanager
def adding(lm: LM, edit: Edit, start: int) -> Iterator[None]:
    """Adds multiplier × vector to a block's output at all tokens from `start` on."""
    import torch

    vector = edit.multiplier * edit.vector.to(lm.device, torch.float32)

    def hook(module: Any, args: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[:, start:] += vector.to(hidden.dtype)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = lm.blocks[edit.layer].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def plain_pair(lm: LM, prompt: ChoicePrompt) -> torch.Tensor:
    """Two passes a pair, each with the outputs of all blocks at the letter's token."""
    import torch

    outputs: list[torch.Tensor] = []

    def hook(module: Any, args: Any, output: Any) -> None:
        outputs.append((output[0] if isinstance(output, tuple) else output)[0, -1].clone())

    handles = [block.register_forward_hook(hook) for block in lm.blocks]
    try:
        for letter in prompt.targets:
            plain_pass(lm, (*prompt.ids, letter))
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(outputs).view(2, len(lm.blocks), -1)


def text_logp(lm: LM, text: tuple[int, ...], given: GivenAnswers, steered: Callable[[int], Any]) -> float:
    """The mean log-probability of an answer's tokens, by a pass over prompt and answer."""
    import torch

    start = len(given.ids)
    with steered(given.start):
        logps = logps_along(lm, text, start)
    targets = torch.tensor(text[start:], device=logps.device)
    return float(logps.gather(-1, targets[:, None]).double().mean())


def greedy(lm: LM, ids: Sequence[int], new_tokens: int, steered: Callable[[int], Any]) -> tuple[list[int], int]:
    """The greedy loop of one prompt; `steered(start)` steers the tokens of a pass from `start` on."""
    import torch
    from transformers import DynamicCache

    ends = end_tokens(lm)
    cache = DynamicCache()
    tokens: list[int] = []
    run, fresh = 0, list(ids)
    with torch.no_grad():
        while len(tokens) < new_tokens:
            inputs = {
                "input_ids": torch.tensor([fresh], device=lm.device),
                "attention_mask": torch.ones(1, run + len(fresh), device=lm.device, dtype=torch.long),
                lm.cache_argument: cache,
                "use_cache": True,
            }
            # Hooks count from the start of their own pass: in a cached step the new token is all there is.
            with steered(len(fresh) - 1):
                logits = lm.model(**inputs).logits
            run += len(fresh)
            token = int(logits[0, -1].argmax())
            if token in ends:
                break
            tokens.append(token)
            fresh = [token]
    return tokens, run


def end_tokens(lm: LM) -> set[int]:
    """The tokens that end an answer."""
    ends = lm.model.generation_config.eos_token_id
    return set() if ends is None else set(ends) if isinstance(ends, list) else {ends}


PLAIN_LOOP = Loop("plain loop", plain_pair, adding)


def library_loop() -> Loop | None:
    """The contender, or None where the library can't be imported."""
    try:
        import steering_vectors  # type: ignore[import-not-found,unused-ignore]  # noqa: F401 - only whether it is there
    except ImportError:
        return None
    return Loop(LIBRARY, _library_pair, _library_steering)


def _library_pair(lm: LM, prompt: ChoicePrompt) -> torch.Tensor:
    import torch
    from steering_vectors import record_activations

    with record_activations(lm.model) as recorded:
        for letter in prompt.targets:
            plain_pass(lm, (*prompt.ids, letter))
    layers = [torch.stack([passed[0, -1] for passed in recorded[layer]]) for layer in sorted(recorded)]
    return torch.stack(layers, dim=1)


def _library_steering(lm: LM, edit: Edit, start: int) -> Any:
    from steering_vectors import SteeringVector

    vector = SteeringVector({edit.layer: edit.vector.to(lm.device, lm.model.dtype)})
    return vector.apply(lm.model, multiplier=edit.multiplier, min_token_index=start)


def engine_kl(lm: LM, work: Work) -> np.ndarray:
    """[questions, settings] of the mean KL over an answer's tokens, in nats, by the engine."""
    from comparisons.engine.divergence import Answers, token_kl

    given = work.given_answers(lm)
    tokens = tuple(each.texts[0][len(each.ids) :] for each in given)
    answers = Answers(tuple(q.question for q in work.questions), tokens, tuple(map(len, tokens)))
    found = token_kl(lm, answers, [Intervention(edits=(edit,)) for edit in work.settings])
    return np.array([[np.mean(each) for each in own] for own in found]).T


def loop_kl(lm: LM, work: Work, given: GivenAnswers, steering: Steering) -> tuple[np.ndarray, int]:
    """The same of one question, [settings], by a pass of the unchanged model and one a setting that changes something.

    Returns:
        The values, and the tokens that were run.
    """
    plain = logps_along(lm, given.texts[0], len(given.ids)).double()
    values = np.zeros(len(work.settings))
    for place, edit in enumerate(work.settings):
        if edit.effective:
            with steering(lm, edit, given.start):
                changed = logps_along(lm, given.texts[0], len(given.ids)).double()
            values[place] = float((plain.exp() * (plain - changed)).sum(-1).mean())
    return values, (1 + len(work.members)) * len(given.texts[0])


def logps_along(lm: LM, ids: tuple[int, ...], start: int) -> torch.Tensor:
    """Log-probabilities of every token at the places from `start` on, [places, vocabulary], by a pass over all."""
    import torch

    with torch.no_grad():
        logits: torch.Tensor = lm.model(torch.tensor([ids], device=lm.device)).logits
    return logits[0, start - 1 : -1].float().log_softmax(-1)
