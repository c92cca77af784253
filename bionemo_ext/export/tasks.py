"""Copy a fine-tuned task into a model repository."""

import shutil
from dataclasses import replace
from pathlib import Path

from bionemo_ext.export.source import copy_huggingface
from bionemo_ext.huggingface import (
    merge_adapter,
    read_adapter,
    read_model,
    weights_digest,
    write_folder,
)
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import ADAPTER, OWN_ENCODER
from bionemo_ext.inference.task import load_task, save_task


def copy_task(source: Path, out: Path, merge_into: Encoder | None = None) -> None:
    """Copy what serves of a task's folder: head, adapter, encoder of its own.

    Parameters
    ----------
    source : Path
        A folder that fine-tuning made.
    out : Path
        A new folder.
    merge_into : Encoder, optional
        Write its weights with the adapter in them instead of the adapter.
    """
    spec, head = load_task(source)
    if merge_into is not None and merge_into.folder and (source / ADAPTER).is_dir():
        out.mkdir(parents=True)
        config, state = read_model(merge_into.folder)
        merged = merge_adapter(state, config, read_adapter(source / ADAPTER))
        write_folder(out / OWN_ENCODER, config, merged)
        spec = replace(spec, encoder_digest=weights_digest(out / OWN_ENCODER))
    elif (source / OWN_ENCODER).is_dir():
        copy_huggingface(source / OWN_ENCODER, out / OWN_ENCODER)
    elif (source / ADAPTER).is_dir():
        shutil.copytree(source / ADAPTER, out / ADAPTER)
    save_task(out, spec, head)
