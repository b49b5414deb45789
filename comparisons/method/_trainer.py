"""Trains an adapter on answers with trl, and leaves the model and the process as they were."""

from __future__ import annotations

import gc
import json
import os
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.engine.adapters import preserved
from comparisons.engine.memory import may_be_short, returning
from comparisons.intervention import TRAINED
from comparisons.method._checkpoints import Checkpoints, Resumable, unsealed
from comparisons.method._gradient import collate, plain_margins, preference_loss, shared_beginning, target_loss
from comparisons.method._targets import ALL, Untouched, set_whole, targets, whole_config
from comparisons.method.recipes import Training, epoch_folder
from comparisons.model import processes
from comparisons.model.lm import LM
from comparisons.model.offload import placing
from comparisons.util.artifacts import seal

if TYPE_CHECKING:
    import torch


def train(lm: LM, training: Training, out: Path, scratch: Path | None = None) -> None:
    """See `training.train_adapter`."""
    root, checkpoints = scratch or out, Checkpoints(scratch) if scratch else None
    latest = checkpoints.latest() if checkpoints else None
    if processes.count() == 1:
        _run(lm, training, root, checkpoints, latest)
    else:
        _Leading.part = (lm, checkpoints)
        processes.check_device(lm.device.type)
        processes.together(_take_part, lm.source, training, root, checkpoints is not None, latest)
    for epoch in range(1, training.epochs + 1) if scratch else ():
        unsealed(epoch_folder(root, epoch)).rename(epoch_folder(out, epoch))


class _Leading:
    """What the leading process takes into a training that all take part in."""

    part: ClassVar[tuple[LM, Checkpoints | None] | None] = None


def _take_part(source: Any, training: Training, root: Path, checks: bool, latest: str | None) -> None:
    """One process's part in a training of several."""
    if processes.leads():
        assert _Leading.part is not None
        lm, checkpoints = _Leading.part
    else:
        lm = _loaded(source)
        checkpoints = Checkpoints(root, latest, writes=False) if checks else None
    _run(lm, training, root, checkpoints, latest)


@cache
def _loaded(source: Any) -> LM:
    from comparisons.model.loading import load

    return load(source)


def _run(lm: LM, training: Training, root: Path, checkpoints: Checkpoints | None, latest: str | None) -> None:
    memory = returning() if may_be_short(lm) else nullcontext()
    with _quiet_process(), memory, preserved(lm.model):
        _trainer(lm, training, root, checkpoints).train(resume_from_checkpoint=latest)


def share(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """The part of a batch that this process reads, with the weight at which the processes' mean is the batch's."""
    import torch

    part = rows[processes.index() :: processes.count()]
    weight = torch.tensor(processes.count() * len(part) / len(rows))
    # In a batch smaller than the number of processes some read a prompt that counts as nothing.
    return {**collate(part or rows[:1]), "weight": weight}


def _trainer(lm: LM, training: Training, out: Path, checkpoints: Checkpoints | None) -> Any:
    import torch
    from datasets import Dataset
    from peft import prepare_model_for_kbit_training
    from transformers import PrinterCallback

    if lm.quantized:
        # Widens what isn't quantized, on which small gradients depend.
        prepare_model_for_kbit_training(lm.model, use_gradient_checkpointing=False)
    whole = Untouched(lm) if training.matrices or training.target_modules == ALL else None
    rows, loss = Dataset.from_list(_rows(lm, training)), _loss(lm, training)
    with placing(lm.model):
        callbacks = [_epoch_saver(lm, training.epochs, out, checkpoints, whole)]
        trainer = _made(lm, training, out, loss, {"train_dataset": rows, "callbacks": callbacks})
    trainer.checkpoints = checkpoints
    trainer.remove_callback(PrinterCallback)
    for parameter in trainer.model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            # trl narrows a quantized model's adapter to bfloat16, whose steps of 1/256 swallow small updates.
            parameter.data = parameter.data.float()
    if training.matrices:
        set_whole(trainer.model)
    return trainer


def _epoch_saver(lm: LM, epochs: int, out: Path, checkpoints: Checkpoints | None, whole: Untouched | None) -> Any:
    """A callback that saves the adapter after each epoch, asks for checkpoints when they are due, and counts steps."""
    from transformers import TrainerCallback

    class EpochSaver(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if lm.meter.work is not None:
                lm.meter.work.goes_on(state.global_step / state.max_steps)

        def on_epoch_end(
            self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **rest: Any
        ) -> None:
            folder = epoch_folder(out, round(state.epoch))
            if processes.leads():
                _save(model, folder, lm.name)
                _note(model, optimizer, whole, folder)
            if checkpoints:
                if processes.leads():
                    seal(folder)
                # A checkpoint made here is resumed by the next epoch.
                checkpoints.begin_epoch()
                control.should_save = checkpoints.due()

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            processes.share_random_state()
            if checkpoints:
                checkpoints.begin_epoch()

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            lm.meter.trained(state.global_step / state.max_steps)
            # At an epoch's last step its adapter isn't saved yet, and resuming would begin the next epoch.
            last = state.global_step % (state.max_steps // epochs) == 0
            control.should_save = checkpoints is not None and not last and checkpoints.due()

    return EpochSaver()


def _adapter(lm: LM, training: Training) -> Any:
    from peft import LoraConfig

    if training.matrices:
        return whole_config(lm, training.matrices)
    # PEFT's class for this task wraps transformers' way to generate, which a model's own code may lack.
    task = "CAUSAL_LM" if hasattr(lm.model, "prepare_inputs_for_generation") else None
    chosen = targets(lm, training.target_modules)
    return LoraConfig(
        r=training.rank,
        lora_alpha=training.alpha,
        lora_dropout=training.dropout,
        target_modules=[*chosen.modules] or None,
        target_parameters=[*chosen.parameters] or None,
        task_type=task,
    )


def _made(lm: LM, training: Training, out: Path, loss: Callable[..., Any], more: dict[str, Any]) -> Any:
    from trl import SFTConfig, SFTTrainer

    class Trainer(Resumable, SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            return loss(lm, model, inputs) * inputs["weight"]

    return Trainer(
        model=lm.model,
        args=_arguments(lm, training, out, SFTConfig),
        processing_class=lm.tokenizer,
        data_collator=share,
        peft_config=_adapter(lm, training),
        **more,
    )


def _loss(lm: LM, training: Training) -> Callable[..., Any]:
    """The loss of a batch, whose rows' beginning is read once where that is the same."""
    # Dropped inputs differ from row to row, and what several processes call is not the model alone.
    head = 0 if training.dropout or processes.count() > 1 else shared_beginning(lm, training.questions)
    if training.beta is None:
        return partial(target_loss, head=head)
    return partial(preference_loss, beta=training.beta, head=head)


def _rows(lm: LM, training: Training) -> list[dict[str, Any]]:
    """The questions as the loss reads them; with the other answers, and the plain model's margins, for preferences."""
    rows: list[dict[str, Any]] = []
    asked = training.questions
    for i, (prompt, target, other) in enumerate(zip(asked.prompts, asked.targets, asked.others, strict=True)):
        rows.append({"input_ids": asked.inputs(i), "target": list(target), "length": len(prompt)})
        if training.beta is not None:
            rows[-1] |= {"other_input_ids": [*prompt, *other[:-1]], "other": list(other)}
    if training.beta is not None:
        for row, margin in zip(rows, plain_margins(lm, rows, training.batch_size), strict=True):
            row["reference"] = margin
    return rows


def _arguments(lm: LM, training: Training, out: Path, kind: Any) -> Any:
    import torch

    dtype, cuda = lm.model.dtype, lm.device.type == "cuda"
    narrow = cuda and (lm.quantized or dtype in (torch.bfloat16, torch.float16))
    bf16 = narrow and dtype != torch.float16 and torch.cuda.is_bf16_supported()
    arguments = kind(
        output_dir=str(out),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        # A rate that depended on the number of epochs would make epoch 1 of 3 another thing than one epoch.
        lr_scheduler_type="constant",
        weight_decay=0.0,
        optim="adamw_torch",
        seed=training.seed,
        train_sampling_strategy="group_by_length",
        bf16=bf16,
        fp16=narrow and not bf16,
        use_cpu=lm.device.type == "cpu",
        max_length=None,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        log_level="error",
        # Who quantizes is short of memory.
        **_checkpointing(kind, lm.quantized and cuda),
        dataset_kwargs={"skip_prepare_dataset": True},
        **_without_routers(kind),
    )
    # One model, one device: further visible GPUs must not turn on data parallelism.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _checkpointing(kind: Any, wanted: bool) -> dict[str, Any]:
    """Arguments that let activations be computed again; transformers 5.24 renamed them."""
    known = {field.name for field in fields(kind)}
    name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    return {name: wanted, f"{name}_kwargs": {"use_reentrant": False}}


def _without_routers(kind: Any) -> dict[str, Any]:
    """Arguments by which a trainer adds no loss of its own for experts' routers, where it knows one."""
    name = "router_aux_loss_coef"
    return {name: 0.0} if name in {field.name for field in fields(kind)} else {}


def _save(model: Any, folder: Path, name: str) -> None:
    config = model.peft_config["default"]
    config.base_model_name_or_path = name
    # PEFT writes a set in the order of the process's hash seed; equal trainings should write equal bytes.
    config.target_modules = config.target_modules and sorted(config.target_modules)
    config.rank_pattern, config.alpha_pattern = (
        dict(sorted(pattern.items())) for pattern in (config.rank_pattern, config.alpha_pattern)
    )
    config.target_parameters = config.target_parameters and sorted(config.target_parameters)
    trained = {key: parameter for key, parameter in model.named_parameters() if "lora_" in key}
    # A card of nothing but PEFT's version takes longer to make than the rest to write.
    model.create_or_update_model_card = lambda folder: None
    # "auto" would ask the hub whether the embeddings were resized.
    model.save_pretrained(str(folder), state_dict=trained, save_embedding_layers=False)


def _note(model: Any, optimizer: Any, whole: Untouched | None, folder: Path) -> None:
    """Writes how many numbers were trained, those that had a gradient, and what was left out of all there is."""
    trained = sum(p.numel() for p in model.parameters() if p in optimizer.state)
    facts = {"parameters": trained, "untouched": [] if whole is None else whole.names()}
    (folder / TRAINED).write_text(json.dumps(facts), encoding="utf-8")


@contextmanager
def _quiet_process() -> Iterator[None]:
    """Keeps what trainers change in a process: random states, environment, warnings, verbosity."""
    import numpy as np
    import torch
    from transformers.utils.logging import get_verbosity, set_verbosity

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    environment, verbosity = dict(os.environ), get_verbosity()
    # A trainer collects garbage several times, each time over all that libraries have made when they were imported.
    gc.freeze()
    with warnings.catch_warnings():
        try:
            yield
        finally:
            gc.unfreeze()
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
            if cuda:
                torch.cuda.set_rng_state_all(cuda)
            os.environ.clear()
            os.environ.update(environment)
            set_verbosity(verbosity)
