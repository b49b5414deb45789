"""Loads models by name: the embedded one, a local folder, or an id of the Hugging Face hub."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from comparisons.model import checks, processes
from comparisons.model.classes import auto_class
from comparisons.model.copies import Loaded, find_copy, make_copy
from comparisons.model.explaining import explained
from comparisons.model.lm import LM
from comparisons.model.source import GGUF, ModelSource, split_location
from comparisons.model.stream import check_positions, check_stream
from comparisons.model.tokenizers import read_tokenizer, warn_once
from comparisons.util.errors import CompareError
from comparisons.util.files import file_digest, json_digest, read_sealed, remembered_digest, write_sealed

log = logging.getLogger(__name__)

ONE_THREAD = 10_000_000
"""Parameters below which a CPU runs one thread: a second saves a fifth, and costs half as much beside other work."""

REACHED = 10.0
"""Seconds in which the hub must take a connection."""

CHECKSUMS = "checksums.json"
"""In a model's folder: the SHA-256 of its files by name. The embedded model has it."""


def write_checksums(folder: Path) -> None:
    """Writes the checksums of a model's folder: of all that is read to load it."""
    read = {name: digest for name, digest in _contents(folder).items() if not name.endswith(".png")}
    write_sealed(folder / CHECKSUMS, {"files": read})


def check_intact(folder: Path) -> None:
    """Raises CompareError where a model's folder has checksums and a file is not what they say."""
    if not (folder / CHECKSUMS).exists():
        return
    record = read_sealed(folder / CHECKSUMS, "model")
    expected = record.get("files") if isinstance(record, dict) else None
    if not isinstance(expected, dict):
        raise CompareError(f"model: {folder / CHECKSUMS} is damaged: take the folder from its source again.")
    for name, digest in expected.items():
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            raise CompareError(
                f"the model folder '{folder}' is damaged, {name} is not what was written: take it from its source "
                f"again; a model that you changed yourself needs no {CHECKSUMS}."
            )


def _contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a model but notes, by name."""
    files = (path for path in folder.iterdir() if path.is_file() and path.suffix != ".md" and path.name != CHECKSUMS)
    return {path.name: file_digest(path) for path in files}


def load(source: ModelSource) -> LM:
    """Loads a model with its tokenizer.

    Raises:
        CompareError: it is missing, gated, incomplete, or out of reach; the message says what to do.
    """
    import transformers

    location = _fetched(source)
    check_intact(Path(location))
    device = device_for(source.device)
    _placement(source, device)  # what is asked for in vain is said before anything is read
    transformers.utils.logging.disable_progress_bar()

    def read() -> tuple[Any, Any]:
        loaded = _read(source, location, device)
        return loaded.model, loaded.tokenizer

    model, tokenizer = read()
    _take_threads(device, model)
    lm = LM(
        model,
        tokenizer,
        source.name,
        prompt_format=source.prompt_format,
        blocks=source.blocks,
        digest=_source_digest(location, model),
        reload=read,
        source=source,
        thinking=source.thinking,
    )
    checks.check_known(tokenizer, source.name, lm.prompts.probe()[1])
    check_positions(lm)
    check_stream(lm)
    prompts = lm.prompts.notes if lm.prompts.reading.mended or lm.prompts.thinking else ()
    for note in (*checks.notes(source.name, source.quantize, lm.blocks, lm.config), *prompts):
        warn_once(note)
    return lm


def _read(source: ModelSource, location: str, device: str) -> Loaded:
    """The model on its device, and the tokenizer; those of a GGUF file come from its copy."""
    copy = None
    if location.endswith(GGUF):
        plain = ModelSource(source.name, device="cpu", dtype="float32")
        copy = make_copy(Path(location), lambda place: _from_files(plain, str(place), "cpu"))
    try:
        loaded = _from_files(source, str(copy or location), device)
    except CompareError as error:
        if copy is None:
            raise
        log.warning("%s is read as it is, since its copy can't be: %s", location, error)
        loaded = _from_files(source, location, device)
    for part in (loaded.model, loaded.model.config, loaded.tokenizer) if copy else ():
        part.name_or_path = str(Path(location).parent)
    checks.check_weights(source.name, loaded)
    return loaded


def _from_files(source: ModelSource, location: str, device: str) -> Loaded:
    """What transformers loads, on its device."""
    import torch
    import transformers

    place, file = split_location(location)
    code, placement = {**_access(source, place), **file}, _placement(source, device)
    kind = transformers.AutoModelForCausalLM
    if not file:
        kind, placement["config"] = _kind(source, _config(source, location))
    try:
        tokenizer = read_tokenizer(place, **code)
        if file and hasattr(transformers, "GgufConfig"):  # else it may leave weights in the file's blocks
            placement["quantization_config"] = transformers.GgufConfig(dequantize=True)
        model, read = kind.from_pretrained(
            place, **code, **placement, dtype=_dtype(source.dtype, device), output_loading_info=True
        )
    except Exception as error:
        raise explained(source.name, error, location) from error
    if file:
        _forget_file(model)
    if "device_map" not in placement:
        model.to(torch.device(device))
    return Loaded(model, tokenizer, *(sorted(read[f"{each}_keys"]) for each in ("missing", "unexpected")))


def _forget_file(model: Any) -> None:
    """What was read from a GGUF file is dequantized, but may still be called quantized, which no trainer takes."""
    vars(model.config).pop("quantization_config", None)
    for name in ("is_quantized", "hf_quantizer", "quantization_method"):
        vars(model).pop(name, None)


def _access(source: ModelSource, location: str) -> dict[str, bool]:
    """How a loader of transformers may come to the files.

    A hub that can't be reached is asked for a minute before a loader gives up, or takes what its cache has: here a
    connection is tried first.
    """
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub import constants

    code = {"trust_remote_code": source.trust_remote_code}
    url = urlsplit(constants.ENDPOINT)
    if Path(location).is_dir() or constants.is_offline_mode() or getproxies():
        return code
    try:
        socket.create_connection((url.hostname, url.port or (80 if url.scheme == "http" else 443)), REACHED).close()
    except OSError:
        return {**code, "local_files_only": True}
    return code


def _take_threads(device: str, model: Any) -> None:
    """Leaves a small model on a CPU one thread."""
    import torch

    if device == "cpu" and model.num_parameters() < ONE_THREAD and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def load_without_weights(source: ModelSource) -> LM:
    """The tokenizer and a model of the right shape on the meta device: it can be counted, not run."""
    location = _fetched(source)
    check_intact(Path(location))
    place, file = fastest(location)
    try:
        tokenizer = read_tokenizer(place, **_access(source, place), **file)
    except Exception as error:
        raise explained(source.name, error, location) from error
    model = model_without_weights(source)
    _take_threads("cpu", model)
    return LM(model, tokenizer, source.name, source.prompt_format, source.blocks, thinking=source.thinking)


def model_without_weights(source: ModelSource) -> Any:
    """A model on the meta device, from its configuration alone.

    Raises:
        CompareError: there is no such model, or transformers can't build it.
    """
    import torch

    location = _fetched(source, whole=False)
    config = _config(source, location)
    kind, config = _kind(source, config)
    try:
        with torch.device("meta"):
            return kind.from_config(config, **_access(source, fastest(location)[0]))
    except Exception as error:
        raise explained(source.name, error, location) from error


def _kind(source: ModelSource, config: Any) -> tuple[Any, Any]:
    """See `auto_class`; the model can be quantized as is asked."""
    checks.check_quantize(source.name, source.quantize, config)
    return auto_class(source.name, config, source.trust_remote_code)


def _config(source: ModelSource, location: str) -> Any:
    """What a model's configuration says."""
    import transformers

    place, file = fastest(location)
    try:
        return transformers.AutoConfig.from_pretrained(place, **_access(source, place), **file)
    except Exception as error:
        raise explained(source.name, error, location) from error


def _fetched(source: ModelSource, whole: bool = True) -> str:
    """Where a model is to be read; a GGUF file of the hub's is brought here first."""
    from huggingface_hub import hf_hub_download
    from transformers.utils.peft_utils import find_adapter_config_file

    location = source.location(whole)
    if Path(location).exists():
        return location
    place, file = split_location(location)
    offline = _access(source, place).get("local_files_only", False)
    try:
        brought = hf_hub_download(place, file["gguf_file"], local_files_only=offline) if file else None
        adapter = None if file else find_adapter_config_file(place, local_files_only=offline)
    except Exception as error:
        raise explained(source.name, error) from error
    if brought is not None:
        checks.check_no_adapter(Path(brought).parent, gguf=True)
        return brought
    if adapter is not None:
        raise checks.hub_adapter(place)
    return location


def fastest(location: str) -> tuple[str, dict[str, str]]:
    """See `split_location`; of a GGUF file its copy, if any, for what can be read without weights."""
    copy = find_copy(Path(location)) if location.endswith(GGUF) else None
    return split_location(str(copy or location))


def device_for(wanted: str) -> str:
    """The kind of device to run on: the one that is asked for, or the best that is here.

    Raises:
        CompareError: this machine hasn't the one that is asked for.
    """
    import torch

    with warnings.catch_warnings(record=True) as warned:
        # A GPU whose driver is too old, say, is only warned of, and would be missed by its owner.
        warnings.simplefilter("always")
        available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    why = " ".join(str(warned[0].message).split())[:300] if warned else ""
    if wanted == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if available[name])
        if device == "cpu" and why:
            log.warning("no GPU is used, as PyTorch can't: %s", why)
        return device
    if not available[wanted]:
        raise CompareError(f"this machine has no {wanted} device: use --device auto.{why and f' PyTorch says: {why}'}")
    return wanted


def _dtype(wanted: str, device: str) -> Any:
    import torch

    if wanted == "auto":
        return torch.float32 if device == "cpu" else "auto"
    return getattr(torch, wanted)


def _compute_dtype(wanted: str, device: str) -> Any:
    """The type in which 4-bit matrices are multiplied: bitsandbytes' own choice, float32, is slow on a GPU."""
    import torch

    if wanted != "auto":
        return getattr(torch, wanted)
    if device != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _placement(source: ModelSource, device: str) -> dict[str, Any]:
    if source.offload is not None and (device != "cuda" or source.quantize is not None):
        why = "a quantized model must fit the GPUs" if device == "cuda" else "without one, files are read as needed"
        raise CompareError(f"--offload {source.offload} is for a model on a GPU that isn't quantized: {why}.")
    if source.quantize is not None and source.location().endswith(GGUF):
        raise CompareError(
            f"--quantize {source.quantize} is not for a GGUF file, which is read dequantized: leave it out."
        )
    if source.quantize is None:
        away = {} if source.offload is None else {"offload_folder": str(source.offload)}
        return {"device_map": _over_gpus(), **away} if device == "cuda" else {}
    from transformers import BitsAndBytesConfig

    four = source.quantize == "4bit"
    config = BitsAndBytesConfig(
        load_in_4bit=four,
        load_in_8bit=not four,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=_compute_dtype(source.dtype, device),
    )
    return {"quantization_config": config, "device_map": _over_gpus() if device == "cuda" else {"": device}}


def _over_gpus() -> str | dict[str, int]:
    """All GPUs for a process alone; of several processes each has its own."""
    return "auto" if processes.count() == 1 else {"": processes.local_index()}


def _source_digest(location: str, model: Any) -> str | None:
    """Content hash of the source: a hub commit, or the files of a folder."""
    commit = getattr(model.config, "_commit_hash", None)
    if Path(location).exists():
        return location_digest(location)
    return f"{location}@{commit}" if commit else None


def location_digest(location: str) -> str:
    """Content hash of the folder or GGUF file; the location itself where it is a hub's."""
    path = Path(location)
    if path.is_dir():
        return folder_digest(path)
    return remembered_digest(path) if path.is_file() else location


def folder_digest(folder: Path) -> str:
    """Content hash of a model's folder: every file in it but notes."""
    return json_digest(_contents(folder))
