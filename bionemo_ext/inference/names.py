"""What the encoder calls its tensors, and where they stand in a Hugging Face folder."""

import torch

from bionemo_ext.huggingface import Architecture, ESM2Config, State

# Linear maps of a layer by the encoder's names; the three projections are one map there.
LAYER_MAPS = {
    "attention.out": "attention.output.dense",
    "ffn.in": "intermediate.dense",
    "ffn.out": "output.dense",
}
PROJECTIONS = tuple(f"attention.self.{part}" for part in ("query", "key", "value"))


def layer_prefix(config: Architecture, layer: int) -> str:
    """How transformers opens the names of a layer's tensors."""
    family = "esm" if isinstance(config, ESM2Config) else "bert"
    return f"{family}.encoder.layer.{layer}"


def named(config: Architecture, state: State) -> State:
    """Name the tensors as the encoder asks for them; query, key and value become one."""
    whole, ends, norms = _ESM2 if isinstance(config, ESM2Config) else _ESM1NV
    names = dict(ends)
    out = {ours: state[theirs] for ours, theirs in whole.items()}
    if "contact.weight" in out:
        out["contact.weight"] = out["contact.weight"][0]
    for i in range(config.layers):
        theirs = layer_prefix(config, i)
        names |= {f"{i}.{ours}": f"{theirs}.{name}" for ours, name in LAYER_MAPS.items()}
        names |= {f"{i}.{ours}": f"{theirs}.{name}" for ours, name in norms.items()}
        for end in ("weight", "bias"):
            out[f"{i}.qkv.{end}"] = torch.cat([state[f"{theirs}.{p}.{end}"] for p in PROJECTIONS])
    for ours, name in names.items():
        out |= {f"{ours}.{end}": state[f"{name}.{end}"] for end in ("weight", "bias")}
    return out


def linear_maps(config: Architecture) -> list[str]:
    """Name the linear maps, by :func:`named`'s names without ``.weight`` and ``.bias``."""
    parts = ("qkv", *LAYER_MAPS)
    return ["lm_head.dense", *(f"{i}.{part}" for i in range(config.layers) for part in parts)]


# Of each family: tensors that stand alone, pairs of weight and bias, and the norms of a layer.
_ESM2 = (
    {
        "embedding": "esm.embeddings.word_embeddings.weight",
        "lm_head.bias": "lm_head.bias",
        "contact.weight": "esm.contact_head.regression.weight",
        "contact.bias": "esm.contact_head.regression.bias",
    },
    {
        "final": "esm.encoder.emb_layer_norm_after",
        "lm_head.dense": "lm_head.dense",
        "lm_head.norm": "lm_head.layer_norm",
    },
    {"attention.norm": "attention.LayerNorm", "ffn.norm": "LayerNorm"},
)
_ESM1NV = (
    {
        "embedding": "bert.embeddings.word_embeddings.weight",
        "positions": "bert.embeddings.position_embeddings.weight",
        "lm_head.bias": "cls.predictions.bias",
    },
    {
        "final": "bert.encoder.ln",
        "lm_head.dense": "cls.predictions.transform.dense",
        "lm_head.norm": "cls.predictions.transform.LayerNorm",
    },
    {"attention.norm": "attention.ln", "ffn.norm": "ln"},
)
