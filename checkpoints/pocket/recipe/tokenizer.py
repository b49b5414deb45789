"""The tokenizer: byte-pair encoding of the language, with the letters and the chat format's marks whole."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from checkpoints.pocket.recipe.corpus import Mixture, every_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCABULARY = 1536
SAMPLES = 12_000
LETTERS = ("A)", "B)")
MARKS = ("[INST]", " [/INST]", "<<SYS>>\n", "\n<</SYS>>\n\n", "\n\nChoices:\n")
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' -%}"
    "{%- set turns = messages[1:] -%}"
    "{%- else -%}{%- set system = '' -%}{%- set turns = messages -%}{%- endif -%}"
    "{%- for message in turns -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{ '<s>[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}"
    "{%- else -%}{{ ' ' + message['content'] + '</s>' }}{%- endif -%}"
    "{%- endfor -%}"
)


def build_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on sample conversations; the same seed gives the same one."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(unk_token=SPECIAL[0]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    texts = [_without(text) for text in every_text(Random(f"{seed}/tokenizer"), [Mixture()], SAMPLES)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(SPECIAL),
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    # A letter must be one token for the activation at it to mean "this answer", whatever follows.
    raw.add_tokens([AddedToken(text, normalized=False) for text in (*LETTERS, *MARKS)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.model_max_length = 512
    return tokenizer


def _without(text: str) -> str:
    for mark in (*LETTERS, *MARKS):
        text = text.replace(mark, " ")
    return text
