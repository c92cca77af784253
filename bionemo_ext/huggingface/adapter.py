"""A LoRA adapter's folder, as Hugging Face PEFT writes and reads it.

LoRA (Hu et al., 2021, arXiv 2106.09685) adds ``alpha / rank * B A`` to a frozen matrix W. The
folder holds ``adapter_config.json`` and ``adapter_model.safetensors`` with the names of
``PeftModel(EsmForMaskedLM)``; ``base_sha256`` in the configuration says which weights it belongs
to. Shapes: R rank, I inputs and O outputs of an adapted matrix.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface.config import OWN_KEY, Architecture
from bionemo_ext.huggingface.shapes import shapes
from bionemo_ext.huggingface.tensors import State, load_tensors, save_tensors

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
# Keys by which PEFT makes something else than B A beside a matrix, and what leaves it at that.
_PLAIN: dict[str, Any] = {
    "peft_type": "LORA",
    "bias": "none",
    "fan_in_fan_out": False,
    "use_rslora": False,
    "use_dora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "modules_to_save": None,
}


@dataclass(frozen=True)
class Adapter:
    """Low-rank additions to the matrices of a model.

    Parameters
    ----------
    rank : int
        R.
    alpha : float
        The additions are B A times ``alpha / rank``.
    tensors : dict of (Tensor, Tensor)
        A [R, I] and B [O, R] of each adapted linear map, by its name in transformers without
        ``.weight``, for example ``esm.encoder.layer.0.attention.self.query``.
    base_digest : str
        SHA-256 of the ``model.safetensors`` that it was trained on; empty where nobody said.
    dropout : float
        Of the adapters' inputs in training.
    """

    rank: int
    alpha: float
    tensors: dict[str, tuple[Tensor, Tensor]]
    base_digest: str = ""
    dropout: float = 0.0

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / self.rank


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter, ours or any that PEFT wrote for ``EsmForMaskedLM``.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or the adapter is of another kind than LoRA's plain form.
    """
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not the folder of an adapter: {name} is missing")
    raw = _read_config(folder / ADAPTER_CONFIG)
    path = folder / ADAPTER_WEIGHTS
    tensors = _pairs(load_tensors(path), path)
    for name, (a, b) in tensors.items():
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != raw["r"] or b.shape[1] != raw["r"]:
            raise CheckpointError(
                f"{path}: the adapter of {name} has the shapes {tuple(a.shape)} and "
                f"{tuple(b.shape)}, which are not of rank {raw['r']}"
            )
    own = (raw.get("auto_mapping") or {}).get(OWN_KEY, {})
    return Adapter(
        rank=raw["r"],
        alpha=raw["lora_alpha"],
        tensors=tensors,
        base_digest=own.get("base_sha256", ""),
        dropout=raw.get("lora_dropout") or 0.0,
    )


def write_adapter(folder: Path, adapter: Adapter) -> None:
    """Write a folder that :func:`read_adapter` and PEFT read; an old one gives way at the end.

    Parameters
    ----------
    folder : Path
        The adapter's own folder: all that lies in it is replaced.
    adapter : Adapter
        What to write, in the precision of its tensors.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    state: State = {}
    for name, (a, b) in sorted(adapter.tensors.items()):
        # Query, key and value may share one A, which safetensors wants to own three times.
        state[f"{_PREFIX}{name}{_A}"] = a.contiguous().clone()
        state[f"{_PREFIX}{name}{_B}"] = b.contiguous().clone()
    save_tensors(partial / ADAPTER_WEIGHTS, state)
    (partial / ADAPTER_CONFIG).write_text(json.dumps(_config(adapter), indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def check_adapter(adapter: Adapter, config: Architecture, digest: str = "") -> None:
    """See that an adapter is of an architecture and, if ``digest`` is given, of these weights.

    Raises
    ------
    CheckpointError
        Names the matrix that the model has not or has in another shape.
    """
    known = shapes(config)
    for name, (a, b) in adapter.tensors.items():
        shape = known.get(f"{name}.weight")
        if shape is None:
            raise CheckpointError(f"the adapter changes {name}, which the model has not")
        if shape != (b.shape[0], a.shape[1]):
            raise CheckpointError(
                f"the adapter changes {name} as a matrix of shape {(b.shape[0], a.shape[1])}; the "
                f"model's is {shape}"
            )
    if digest and adapter.base_digest and digest != adapter.base_digest:
        raise CheckpointError(
            "the adapter was trained on other weights: their model.safetensors had the SHA-256 "
            f"{adapter.base_digest[:12]}..., this one has {digest[:12]}..."
        )


def merge_adapter(state: Mapping[str, Tensor], config: Architecture, adapter: Adapter) -> State:
    """Add an adapter to a model's weights, in fp32, whatever they are kept in.

    Parameters
    ----------
    state : mapping of Tensor
        What :func:`bionemo_ext.huggingface.read_model` gives.
    config : Architecture
        The same model's.
    adapter : Adapter
        What to add.

    Returns
    -------
    dict of Tensor
        All tensors of the state under their names, those without an adapter as they were.

    Raises
    ------
    CheckpointError
        If the adapter is of another architecture.
    """
    check_adapter(adapter, config)
    out = dict(state)
    for name, (a, b) in adapter.tensors.items():
        weight = state[f"{name}.weight"]
        change = adapter.scale * (b.to(torch.float32) @ a.to(torch.float32))
        out[f"{name}.weight"] = (weight.float() + change).to(weight.dtype)
    return out


def _config(adapter: Adapter) -> dict[str, Any]:
    return {
        **_PLAIN,
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "init_lora_weights": True,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": adapter.dropout,
        # Whole names: "output.dense" alone would mean two matrices of each layer.
        "target_modules": sorted(adapter.tensors),
        # The one place where PEFT takes keys that are not its own without a warning.
        "auto_mapping": {OWN_KEY: {"base_sha256": adapter.base_digest}},
    }


def _read_config(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} does not describe an adapter")
    for key, plain in _PLAIN.items():
        # PEFT leaves out or nulls what is plain, but it always says which method it is.
        if (raw.get(key) or (plain if key != "peft_type" else None)) != plain:
            raise CheckpointError(
                f"{path} has {key}={raw.get(key)!r}; only {key}={plain!r} can be applied"
            )
    rank, alpha = raw.get("r"), raw.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise CheckpointError(f"{path} has r={rank!r} and lora_alpha={alpha!r}, numbers are needed")
    return raw


def _pairs(state: State, path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    names = {name.removesuffix(_A).removesuffix(_B) for name in state}
    if not names or set(state) != {f"{name}{end}" for name in names for end in (_A, _B)}:
        raise CheckpointError(f"{path} does not hold an A and a B of each matrix, and no more")
    if odd := sorted(name for name in names if not name.startswith(_PREFIX)):
        raise CheckpointError(f"{path} names {odd[0]}, but a name begins with {_PREFIX}")
    return {
        name.removeprefix(_PREFIX): (state[f"{name}{_A}"], state[f"{name}{_B}"])
        for name in sorted(names)
    }
