"""The Hugging Face folder of an ESM-2 model: where training and inference meet.

``config.json`` and ``model.safetensors`` as ``transformers.EsmForMaskedLM`` writes and reads them.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface.config import ESM2Config
from bionemo_ext.huggingface.tensors import State, check_names, load_tensors, save_tensors
from bionemo_ext.sequences import ESM2

# Buffers that older files carry and rotary models never read, and the tied copy of the embedding.
_UNREAD = {"esm.embeddings.position_ids", "esm.embeddings.position_embeddings.weight"}
_TIED = {
    "lm_head.decoder.weight": "esm.embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
}


def read_folder(folder: Path) -> tuple[ESM2Config, State]:
    """Read architecture and weights, strictly.

    Returns
    -------
    config : ESM2Config
    state : dict of Tensor
        The tensors of ``EsmForMaskedLM``, without the tied copy of the embedding.

    Raises
    ------
    CheckpointError
        If a file is missing, damaged or of another kind of model; a key is missing or unknown; a
        shape is wrong; a tied copy differs; or the rotary frequencies are not those of ESM-2.
    """
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a Hugging Face folder: {name} is missing")
    try:
        raw = json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'} is not JSON: {error}") from None
    config = ESM2Config.from_huggingface(raw)
    state = _without_copies(load_tensors(folder / "model.safetensors"))
    _check(state, config)
    return config, state


def write_folder(folder: Path, config: ESM2Config, state: Mapping[str, Tensor]) -> None:
    """Write a folder that :func:`read_folder` reads; an old one gives way when it is whole.

    Raises
    ------
    CheckpointError
        If the state is not of this architecture.
    """
    _check(state, config)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    dtype = str(state["lm_head.bias"].dtype).removeprefix("torch.")
    raw = {**config.huggingface(), "torch_dtype": dtype}
    (partial / "config.json").write_text(json.dumps(raw, indent=2) + "\n")
    save_tensors(partial / "model.safetensors", state)
    for name, text in _tokenizer_files().items():
        (partial / name).write_text(text)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _tokenizer_files() -> dict[str, str]:
    """What ``transformers.AutoTokenizer`` needs to tokenize as :data:`ESM2` does."""
    special = {
        f"{name}_token": token
        for name, token in zip(
            ("cls", "eos", "pad", "mask", "unk"),
            (ESM2.bos, ESM2.eos, ESM2.pad, ESM2.mask, ESM2.unk),
            strict=True,
        )
    }
    config = {
        **special,
        "tokenizer_class": "EsmTokenizer",
        "model_max_length": ESM2.max_residues + 2,
        "clean_up_tokenization_spaces": True,
    }
    return {
        "vocab.txt": "\n".join(ESM2.tokens),
        "special_tokens_map.json": json.dumps(special, indent=2) + "\n",
        "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
    }


def inverse_frequencies(head_dim: int) -> Tensor:
    """Rotary inverse frequencies, [head_dim / 2] (Su et al., 2021; base 10000).

    Computed as transformers does, so that the buffer in its files is met bit for bit.
    """
    return 1.0 / (10000 ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim))


def _without_copies(state: Mapping[str, Tensor]) -> State:
    out = {name: tensor for name, tensor in state.items() if name not in _UNREAD}
    for copy, original in _TIED.items():
        tensor = out.pop(copy, None)
        if tensor is not None and not torch.equal(tensor, out.get(original, torch.empty(0))):
            raise CheckpointError(f"{copy} differs from {original}, to which ESM-2 ties it")
    return out


def _check(state: Mapping[str, Tensor], config: ESM2Config) -> None:
    shapes = _shapes(config)
    check_names(set(state), set(shapes), "Hugging Face folder")
    for name, shape in shapes.items():
        if tuple(state[name].shape) != shape:
            raise CheckpointError(
                f"{name} has shape {tuple(state[name].shape)}, config.json asks for {shape}"
            )
        if name.endswith("inv_freq") and not torch.allclose(
            state[name].float(), inverse_frequencies(config.head_dim), rtol=1e-3
        ):
            raise CheckpointError(f"{name} is not of base 10000, as in ESM-2")


def _shapes(config: ESM2Config) -> dict[str, tuple[int, ...]]:
    hidden, ffn, vocabulary = config.hidden, config.ffn, len(ESM2)
    shapes: dict[str, tuple[int, ...]] = {
        "esm.embeddings.word_embeddings.weight": (vocabulary, hidden),
        "esm.contact_head.regression.weight": (1, config.layers * config.heads),
        "esm.contact_head.regression.bias": (1,),
        "lm_head.bias": (vocabulary,),
        "lm_head.dense.weight": (hidden, hidden),
    }
    vectors = ("lm_head.dense.bias", "lm_head.layer_norm", "esm.encoder.emb_layer_norm_after")
    matrices = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (ffn, hidden),
        "output.dense": (hidden, ffn),
    }
    for name in vectors:
        ends = [""] if name.endswith("bias") else [".weight", ".bias"]
        shapes |= {f"{name}{end}": (hidden,) for end in ends}
    for i in range(config.layers):
        layer = f"esm.encoder.layer.{i}."
        for name, shape in matrices.items():
            shapes |= {f"{layer}{name}.weight": shape, f"{layer}{name}.bias": shape[:1]}
        for name in ("attention.LayerNorm", "LayerNorm"):
            shapes |= {f"{layer}{name}.{end}": (hidden,) for end in ("weight", "bias")}
        shapes[f"{layer}attention.self.rotary_embeddings.inv_freq"] = (config.head_dim // 2,)
    return shapes
