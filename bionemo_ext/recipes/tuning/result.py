"""From the best checkpoint of a fine-tuning to the files that predictions are made with."""

import shutil
from dataclasses import replace
from pathlib import Path

from bionemo_ext.errors import RunError
from bionemo_ext.huggingface import (
    Adapter,
    Architecture,
    State,
    weights_digest,
    write_adapter,
)
from bionemo_ext.inference.predictor import ADAPTER, OWN_ENCODER
from bionemo_ext.inference.task import Head, TaskSpec, save_task
from bionemo_ext.models.adapters import adapters_to_huggingface
from bionemo_ext.models.folder import write_folder
from bionemo_ext.recipes.checkpoint import read_added, read_checkpoint
from bionemo_ext.recipes.finetune.settings import FinetuneSettings, Mode
from bionemo_ext.recipes.runs import best_checkpoints


def write_result(settings: FinetuneSettings, spec: TaskSpec, architecture: Architecture) -> None:
    """Write the head and what goes with it, then drop the checkpoints.

    LoRA leaves ``adapter/`` in PEFT's format, full fine-tuning the whole model in
    ``huggingface/``. ``task.json`` comes last: a folder that has it is whole.

    Parameters
    ----------
    settings : FinetuneSettings
        The run.
    spec : TaskSpec
        The head; ``encoder_digest`` is that of the weights that the run began with.
    architecture : Architecture
        The encoder's.

    Raises
    ------
    RunError
        If no epoch had a validation loss.
    CheckpointError
        If the best checkpoint is damaged.
    """
    out = Path(settings.out)
    best = next(iter(best_checkpoints(out)), None)
    if best is None:
        raise RunError(
            f"{out}: the validation loss was not a number in any epoch; a lower training.lr helps"
        )
    head = Head(spec)
    head.load_state_dict(_without_prefix(read_added(best, "module.head."), "head."))
    if settings.mode is Mode.LORA:
        _write_adapter(out / ADAPTER, settings, spec, read_added(best, ".adapter."), architecture)
    else:
        write_folder(out / OWN_ENCODER, *read_checkpoint(best))
        spec = replace(spec, encoder_digest=weights_digest(out / OWN_ENCODER))
    other = out / (OWN_ENCODER if settings.mode is Mode.LORA else ADAPTER)
    shutil.rmtree(other, ignore_errors=True)  # of an earlier run with the other mode
    save_task(out, spec, head)
    # Killed halfway, what is left of them must not bear the name of whole ones.
    leaving = (out / "checkpoints").replace(out / ".checkpoints.partial")
    shutil.rmtree(leaving)


def _write_adapter(
    folder: Path,
    settings: FinetuneSettings,
    spec: TaskSpec,
    state: State,
    architecture: Architecture,
) -> None:
    lora = settings.lora
    tensors = adapters_to_huggingface(state, architecture)
    write_adapter(
        folder, Adapter(lora.rank, lora.alpha, tensors, spec.encoder_digest, lora.dropout)
    )


def _without_prefix(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}
