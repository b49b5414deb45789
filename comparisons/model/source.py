"""Which model is to be loaded, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comparisons.model.prompts import PromptFormat
from comparisons.util.errors import CompareError
from comparisons.util.files import embedded

EMBEDDED = "pocket"
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class ModelSource:
    """What to load and how.

    Attributes:
        name: "pocket", a local folder, or a hub id.
        device: "auto", "cpu", "cuda" or "mps".
        dtype: "auto" (float32 on a CPU, else the checkpoint's own), "float32", "bfloat16" or "float16".
        quantize: "4bit", "8bit" or None.
        prompt_format: see `LM`; None for the default.
        blocks: dotted path of the decoder blocks, where it can't be found.
        trust_remote_code: whether code that comes with a hub model may run.
        offload: folder for the blocks that fit neither the GPUs nor main memory; None where there must be none.
    """

    name: str = EMBEDDED
    device: str = "auto"
    dtype: str = "auto"
    quantize: Literal["4bit", "8bit"] | None = None
    prompt_format: PromptFormat | None = None
    blocks: str | None = None
    trust_remote_code: bool = False
    offload: Path | None = None

    @property
    def is_embedded(self) -> bool:
        """Whether it is the model that travels with the package."""
        return self.name == EMBEDDED

    def location(self, whole: bool = True) -> str:
        """The folder or hub id to load from.

        Args:
            whole: whether weights and tokenizer are needed too, or the configuration alone.

        Raises:
            CompareError: the name looks like a path and there is no such folder, or the folder lacks a part.
        """
        if self.is_embedded:
            return str(_checked_folder(embedded("pocket"), whole))
        path = Path(self.name).expanduser()
        if path.exists():
            return str(_checked_folder(path, whole))
        if self.name.startswith((".", "/", "~")) or self.name.count("/") != 1 or " " in self.name:
            raise CompareError(
                f"no model '{self.name}': use {EMBEDDED}, an existing folder, or a hub id like org/name."
            )
        return self.name


def _checked_folder(folder: Path, whole: bool) -> Path:
    if not folder.is_dir():
        raise CompareError(f"the model '{folder}' is not a folder: name the folder that holds config.json.")
    if not (folder / "config.json").is_file():
        raise CompareError(f"the model folder '{folder}' has no config.json.")
    if not whole:
        return folder
    if not any(next(folder.glob(pattern), None) for pattern in WEIGHTS):
        raise CompareError(f"the model folder '{folder}' has no weights (*.safetensors).")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise CompareError(f"the model folder '{folder}' has no tokenizer (tokenizer.json).")
    return folder
