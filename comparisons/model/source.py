"""Which model is to be loaded, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from comparisons.model.prompts import PromptFormat
from comparisons.util.errors import CompareError
from comparisons.util.files import embedded
from comparisons.util.options import Option, names

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]

EMBEDDED = "pocket"
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def _model_names(given: str | Path | Iterable[str | Path], name: str) -> tuple[str, ...]:
    """A list of models, or some as text with commas; a folder with a comma in its name is one."""
    if isinstance(given, (str, Path)):
        one = isinstance(given, Path) or (Path(given).exists() and given.strip())
        models = (str(given),) if one else names(str(given), name)
    else:
        models = tuple(map(str, given))
    if not models:
        raise CompareError(f"{name} is empty: name {EMBEDDED}, a folder, or an id of the hub.")
    return models


@dataclass(frozen=True)
class ModelSource:
    """What to load and how.

    Attributes:
        name: "pocket", a local folder, or a hub id.
        prompt_format: see `LM`; None for the default.
        blocks: dotted path of the decoder blocks, where it can't be found.
        offload: folder for the blocks that fit neither the GPUs nor main memory; None where there must be none.
    """

    name: Annotated[
        str,
        Option(
            "On which model, or on which models.",
            name="model",
            metavar="pocket|PATH|HUB_ID[,…]",
            read=_model_names,
        ),
    ] = EMBEDDED
    device: Annotated[DeviceName, Option("Where to run; auto takes a GPU.", recorded=False)] = "auto"
    dtype: Annotated[DtypeName, Option("Auto: float32 on a CPU, else the checkpoint's.")] = "auto"
    quantize: Annotated[Literal["4bit", "8bit"] | None, Option("Load through bitsandbytes.")] = None
    prompt_format: Annotated[
        PromptFormat | None, Option("By default the tokenizer's chat template, or base where it has none.")
    ] = None
    blocks: Annotated[
        str | None, Option("Dotted path of the decoder blocks, where it can't be found.", metavar="PATH")
    ] = None
    trust_remote_code: Annotated[bool, Option("Let code that comes with a hub model run.", recorded=False)] = False
    offload: Annotated[
        Path | None,
        Option("Keep blocks here that fit neither GPUs nor memory.", metavar="DIR", recorded=False),
    ] = None

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
