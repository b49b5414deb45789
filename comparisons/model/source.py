"""Which model is to be loaded, and how."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from comparisons.dataset.packaged import ENGLISH, POCKET
from comparisons.model.checks import ADAPTER, check_no_adapter
from comparisons.model.named import NAMED
from comparisons.model.prompts import PromptFormat, ThinkingMode
from comparisons.util.errors import CompareError
from comparisons.util.files import embedded
from comparisons.util.options import Option, names

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]

EMBEDDED = "pocket"
GGUF = ".gguf"
GGUF_BEGIN = b"GGUF"
"""What such a file begins with, whatever it is called."""

PART = re.compile(r"-\d{5}-of-(?!00001)\d{5}\.gguf\Z")
"""The end of the name of one of several files that a large GGUF file is cut into."""

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


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
        name: "pocket", another known name ("smollm2"), a local folder, a hub id, or a GGUF file: its path, or a hub id
            with the file's name behind it.
        prompt_format: see `LM`; None for the default.
        thinking: whether free answers begin with a thought; letters and texts are asked without one.
        blocks: dotted path of the decoder blocks, where it can't be found.
        offload: folder for the blocks that fit neither the GPUs nor main memory; None where there must be none.
    """

    name: Annotated[
        str,
        Option(
            "On which model, or on which models.",
            name="model",
            metavar="pocket|smollm2|PATH|FILE.gguf|HUB_ID[,…]",
            read=_model_names,
        ),
    ] = EMBEDDED
    device: Annotated[DeviceName, Option("Where to run; auto takes a GPU.", recorded=False)] = "auto"
    dtype: Annotated[DtypeName, Option("Auto: float32 on a CPU, else the checkpoint's.")] = "auto"
    quantize: Annotated[Literal["4bit", "8bit"] | None, Option("Load through bitsandbytes.")] = None
    prompt_format: Annotated[
        PromptFormat | None, Option("By default the tokenizer's chat template, or base where it has none.")
    ] = None
    thinking: Annotated[
        ThinkingMode, Option("On: free answers begin with a thought, which is kept apart and not judged.")
    ] = "off"
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
        """The folder, GGUF file or hub id to load from; see `split_location`.

        Args:
            whole: whether weights and tokenizer are needed too, or the configuration alone.

        Raises:
            CompareError: the name looks like a path and there is no such folder, or the folder lacks a part.
        """
        if self.is_embedded:
            return str(_checked_folder(embedded("pocket"), whole))
        if self.name in NAMED:
            return str(NAMED[self.name].path())
        if PART.search(self.name):
            raise CompareError(
                f"{self.name} is one of several files of a model, and would be read alone: merge them "
                "(llama-gguf-split --merge FIRST WHOLE.gguf), and name the whole."
            )
        path = Path(self.name).expanduser()
        if path.is_file() and path.suffix == GGUF:
            check_no_adapter(path.parent, gguf=True)
            return str(path)
        if path.exists():
            return str(_checked_folder(path, whole))
        slashes = self.name.count("/")
        hub_file = self.name.endswith(GGUF) and slashes > 1
        if self.name.startswith((".", "/", "~")) or " " in self.name or not (slashes == 1 or hub_file):
            raise CompareError(
                f"no model '{self.name}': use {', '.join((EMBEDDED, *NAMED))}, an existing folder or .gguf file, or a "
                "hub id like org/name."
            )
        return self.name


def data_for(data: Path | None, models: Iterable[ModelSource]) -> Path:
    """The data to ask models about: those that were named, else what fits every one of the models.

    The embedded model's own language is for it alone; any other model reads natural English.
    """
    if data is not None:
        return data
    return POCKET if all(model.is_embedded for model in models) else ENGLISH


def split_location(location: str) -> tuple[str, dict[str, str]]:
    """What loaders of transformers are given for a location: the folder or hub id, and a GGUF file's name there."""
    if not location.endswith(GGUF):
        return location, {}
    path = Path(location)
    if path.is_file():
        return str(path.parent), {"gguf_file": path.name}
    owner, name, file = location.split("/", 2)
    return f"{owner}/{name}", {"gguf_file": file}


def _holds_gguf(file: Path) -> bool:
    with suppress(OSError), file.open("rb") as opened:
        return file.is_file() and opened.read(len(GGUF_BEGIN)) == GGUF_BEGIN
    return False


def _checked_folder(folder: Path, whole: bool) -> Path:
    if not folder.is_dir():
        if _holds_gguf(folder):
            raise CompareError(f"the model '{folder}' is a GGUF file: give it a name that ends in {GGUF}.")
        raise CompareError(f"the model '{folder}' is not a folder: name the folder that holds config.json.")
    check_no_adapter(folder)
    files = sorted(path.name for path in folder.glob(f"*{GGUF}"))
    if files and not (folder / "config.json").is_file():
        raise CompareError(f"the model folder '{folder}' holds GGUF files: name one of them, as {folder / files[0]}.")
    if not (folder / "config.json").is_file():
        within = sorted(path.parent for name in ("config.json", ADAPTER) for path in folder.glob(f"*/{name}"))
        inside = f": name one of the folders in it, as {within[0]}" if within else ""
        raise CompareError(f"the model folder '{folder}' has no config.json{inside}.")
    if not whole:
        return folder
    if not any(next(folder.glob(pattern), None) for pattern in WEIGHTS):
        raise CompareError(f"the model folder '{folder}' has no weights (*.safetensors).")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise CompareError(f"the model folder '{folder}' has no tokenizer (tokenizer.json).")
    return folder
