"""The same weights in transformers, as what speed and numbers are compared with."""

from typing import Any

import torch

from benchmarks.gpu.models import architecture
from bionemo_ext.huggingface import State
from bionemo_ext.models.convert import to_huggingface


class MissingError(RuntimeError):
    """Something that a case needs is not installed."""


def transformers_model(name: str, state: State, dtype: torch.dtype, device: torch.device) -> Any:
    """EsmForMaskedLM with attention by PyTorch's scaled dot product, in evaluation mode.

    Parameters
    ----------
    name : str
        The model's shape.
    state : dict of Tensor
        A Megatron state.
    dtype : torch.dtype
        Of weights and activations.
    device : torch.device
        Where it is to run.

    Raises
    ------
    MissingError
        If transformers cannot be imported.
    """
    try:
        from transformers import EsmConfig, EsmForMaskedLM
    except ImportError as error:
        raise MissingError(f"transformers cannot be imported: {error}") from None
    shape = architecture(name)
    raw = {k: v for k, v in shape.huggingface().items() if k != "model_type"}
    config = EsmConfig(**raw, attn_implementation="sdpa")
    with device:
        model = EsmForMaskedLM(config)
    theirs = to_huggingface(state, shape)
    missing, unknown = model.load_state_dict(theirs, strict=False)
    tied = ("lm_head.decoder.", "position_ids", "position_embeddings", "inv_freq")
    lacking = [m for m in missing if not any(part in m for part in tied)]
    if lacking or [u for u in unknown if "inv_freq" not in u]:
        raise RuntimeError(f"transformers names other tensors: {lacking[:3]} {unknown[:3]}")
    model.tie_weights()
    return model.to(device, dtype).eval()
