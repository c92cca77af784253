"""ESM-2 weights from and to fair-esm's ``.pt`` files.

``<name>.pt`` holds ``{"cfg": {"model": Namespace}, "model": tensors}``; the contact regression
lies in ``<name>-contact-regression.pt`` beside it. Layout: github.com/facebookresearch/esm,
``esm/pretrained.py`` and ``esm/model/esm2.py``.
"""

import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bionemo_ext.errors import CheckpointError, ConfigError
from bionemo_ext.huggingface import ESM2Config, State, constants, load_torch
from bionemo_ext.huggingface.shapes import check_state, rotary_dtype, without_copies

CONTACTS_ENDING = "-contact-regression.pt"

# fair-esm's name -> transformers' name, as beginnings; the rest of a name is the same.
_TOP = {
    "embed_tokens.": "esm.embeddings.word_embeddings.",
    "emb_layer_norm_after.": "esm.encoder.emb_layer_norm_after.",
    "contact_head.regression.": "esm.contact_head.regression.",
    "lm_head.weight": "lm_head.decoder.weight",
    "lm_head.": "lm_head.",
}
_LAYER = {
    "self_attn.q_proj.": "attention.self.query.",
    "self_attn.k_proj.": "attention.self.key.",
    "self_attn.v_proj.": "attention.self.value.",
    "self_attn.out_proj.": "attention.output.dense.",
    "self_attn.rot_emb.": "attention.self.rotary_embeddings.",
    "self_attn_layer_norm.": "attention.LayerNorm.",
    "fc1.": "intermediate.dense.",
    "fc2.": "output.dense.",
    "final_layer_norm.": "LayerNorm.",
}
_PREFIX = re.compile(r"encoder\.(sentence_encoder\.)?")


def read_fair_esm(path: Path) -> tuple[ESM2Config, State]:
    """Read an ESM-2 model of fair-esm, strictly, and without running code from the file.

    Returns
    -------
    config : ESM2Config
    state : dict of Tensor
        As :func:`bionemo_ext.huggingface.read_model` gives it. Without a file of the contact
        regression the contact head is zero.

    Raises
    ------
    CheckpointError
        If a file is damaged or of another model, or a tensor is missing, unknown or of another
        shape.
    """
    if path.name.endswith(CONTACTS_ENDING):
        raise CheckpointError(f"{path} holds a contact regression alone; give the model's own .pt")
    found = load_torch(path, allowed=(Namespace,))
    config = _config(found, path)
    state = dict(_tensors(found, path))
    contacts = contacts_path(path)
    if contacts.is_file():
        state |= _tensors(load_torch(contacts, allowed=(Namespace,)), contacts)
    state = {_theirs_to_transformers(name, path): tensor for name, tensor in state.items()}
    if "esm.contact_head.regression.weight" not in state:
        state |= _no_contacts(config)
    # Some files leave out the rotary frequencies, which are the same in every model.
    state = constants(config, torch.float32) | without_copies(state, config.family)
    try:
        check_state(state, config)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return replace(config, rotary_dtype=rotary_dtype(state, config)), state


def write_fair_esm(path: Path, config: ESM2Config, state: Mapping[str, Tensor]) -> None:
    """Write an ESM-2 model as fair-esm's two files.

    Parameters
    ----------
    path : Path
        Of the model's file; fair-esm itself knows ESM-2 by a name that begins with ``esm2``.
    config : ESM2Config
        The architecture.
    state : mapping
        The tensors as transformers names them.

    Raises
    ------
    CheckpointError
        If the state is not of this architecture.
    """
    check_state(state, config)
    ours = {_transformers_to_theirs(name): tensor for name, tensor in state.items()}
    ours["encoder.lm_head.weight"] = ours["encoder.sentence_encoder.embed_tokens.weight"]
    contacts = {name: ours.pop(name) for name in list(ours) if name.startswith("contact_head.")}
    model = Namespace(
        arch=f"esm2_t{config.layers}",
        encoder_layers=config.layers,
        encoder_embed_dim=config.hidden,
        encoder_ffn_embed_dim=config.ffn,
        encoder_attention_heads=config.heads,
        max_positions=config.max_positions,
        token_dropout=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    # The model last: where it stands, its contacts stand beside it.
    for target, value in (
        (contacts_path(path), {"model": contacts}),
        (path, {"cfg": {"model": model}, "model": ours}),
    ):
        partial = target.with_name(f".{target.name}.partial")
        torch.save(value, partial)
        partial.replace(target)


def contacts_path(path: Path) -> Path:
    """File of the contact regression that belongs to a model's file."""
    return path.with_name(path.name.removesuffix(".pt") + CONTACTS_ENDING)


def _config(found: Mapping[str, Any], path: Path) -> ESM2Config:
    if "args" in found and "cfg" not in found:
        arch = getattr(found["args"], "arch", "unknown")
        raise CheckpointError(f"{path} is of fair-esm's {arch!r}, an ESM-1 model, not of ESM-2")
    section = found.get("cfg")
    model = section.get("model") if isinstance(section, Mapping) else None
    values = vars(model) if isinstance(model, Namespace) else model
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{path} is not a fair-esm ESM-2 file: it has no cfg of a model")
    try:
        if not values["token_dropout"]:
            raise CheckpointError(f"{path} is of a model without token dropout, which ESM-2 has")
        return ESM2Config(
            layers=values["encoder_layers"],
            hidden=values["encoder_embed_dim"],
            heads=values["encoder_attention_heads"],
        )
    except KeyError as error:
        raise CheckpointError(f"{path}: its cfg has no key {error}") from None
    except (ConfigError, TypeError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: its cfg is of no model: {error}") from None


def _tensors(found: Mapping[str, Any], path: Path) -> State:
    state = found.get("model")
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise CheckpointError(f"{path} is not a fair-esm file: it has no tensors under 'model'")
    return dict(state)


def _theirs_to_transformers(name: str, path: Path) -> str:
    bare = _PREFIX.sub("", name, count=1) if _PREFIX.match(name) else name
    layer = re.match(r"layers\.(\d+)\.", bare)
    prefix = f"esm.encoder.layer.{layer[1]}." if layer else ""
    rest = bare[layer.end() :] if layer else bare
    for theirs, ours in (_LAYER if layer else _TOP).items():
        if rest.startswith(theirs):
            return prefix + ours + rest.removeprefix(theirs)
    raise CheckpointError(f"{path} has the tensor {name}, which ESM-2 has not")


def _transformers_to_theirs(name: str) -> str:
    layer = re.match(r"esm\.encoder\.layer\.(\d+)\.", name)
    rest = name[layer.end() :] if layer else name
    pairs = _LAYER if layer else _TOP
    theirs = next(t + rest.removeprefix(o) for t, o in pairs.items() if rest.startswith(o))
    if layer:
        return f"encoder.sentence_encoder.layers.{layer[1]}.{theirs}"
    if theirs.startswith("contact_head."):
        return theirs
    return ("encoder." if theirs.startswith("lm_head.") else "encoder.sentence_encoder.") + theirs


def _no_contacts(config: ESM2Config) -> State:
    return {
        "esm.contact_head.regression.weight": torch.zeros(1, config.layers * config.heads),
        "esm.contact_head.regression.bias": torch.zeros(1),
    }
