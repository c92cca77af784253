"""The architectures: ESM-2 and ESM-1nv, and their ``config.json``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bionemo_ext.errors import CheckpointError, ConfigError
from bionemo_ext.sequences import ESM1NV, ESM2, Alphabet

# Our own part of config.json: what transformers' MegatronBert has no key for.
OWN_KEY = "bionemo_ext"


@dataclass(frozen=True)
class ESM2Config:
    """Architecture of an ESM-2 model; the published sizes are in ``conf/model/``.

    Parameters
    ----------
    layers, hidden, heads : int
        Depth, width and attention heads; ``hidden`` is a multiple of ``heads``.
    ffn : int
        Width of the feed-forward layer; 4 x hidden when 0.
    max_positions : int
        Tokens a sequence may have, ``<cls>`` and ``<eos>`` among them.
    norm_epsilon : float
        Added to the variance in every LayerNorm.
    rotary_dtype : str
        Number format of the rotary frequencies in a folder's file. transformers keeps this constant
        there, in fp32 or in the weights' format; it says nothing about the model.
    """

    family: ClassVar[str] = "esm2"
    alphabet: ClassVar[Alphabet] = ESM2
    dropout: ClassVar[float] = 0.0

    layers: int
    hidden: int
    heads: int
    ffn: int = 0
    max_positions: int = 1024
    norm_epsilon: float = 1e-5
    rotary_dtype: str = field(default="float32", compare=False)

    def __post_init__(self) -> None:
        _check_widths(self)
        if self.head_dim % 2:
            raise ConfigError(f"hidden / heads is {self.head_dim}; rotary positions need it even")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    @property
    def max_residues(self) -> int:
        """Residues a sequence may have, without ``<cls>`` and ``<eos>``."""
        return self.max_positions - 2

    def huggingface(self) -> dict[str, Any]:
        """``config.json`` of the same model for ``transformers.EsmForMaskedLM``."""
        return {
            "architectures": ["EsmForMaskedLM"],
            "model_type": "esm",
            "vocab_size": len(ESM2),
            "vocab_list": None,
            "mask_token_id": ESM2.mask_id,
            "pad_token_id": ESM2.pad_id,
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "intermediate_size": self.ffn,
            "max_position_embeddings": self.max_positions + 2,
            "position_embedding_type": "rotary",
            "layer_norm_eps": self.norm_epsilon,
            "emb_layer_norm_before": False,
            "token_dropout": True,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "initializer_range": 0.02,
            "is_folding_model": False,
            "tie_word_embeddings": True,
            "use_cache": False,
        }

    @classmethod
    def from_huggingface(cls, config: Mapping[str, Any]) -> "ESM2Config":
        """Read the architecture from a ``config.json``.

        Raises
        ------
        CheckpointError
            If the file describes another kind of model than ESM-2.
        """
        expected = {
            "model_type": "esm",
            "vocab_size": len(ESM2),
            "position_embedding_type": "rotary",
            "token_dropout": True,
        }
        _expect(config, expected, "ESM-2")
        if config.get("emb_layer_norm_before"):
            raise CheckpointError("config.json is of ESM-1b (emb_layer_norm_before), not of ESM-2")
        positions = config.get("max_position_embeddings", 1026) - 2
        return cls(**_sizes(config), max_positions=positions)


@dataclass(frozen=True)
class ESM1nvConfig:
    """Architecture of an ESM-1nv model; the defaults are those of the published 44M.

    Parameters
    ----------
    layers, hidden, heads : int
        Depth, width and attention heads; ``hidden`` is a multiple of ``heads``.
    ffn : int
        Width of the feed-forward layer; 4 x hidden when 0.
    max_positions : int
        Tokens a sequence may have, ``<s>`` and ``</s>`` among them: 514 hold the published 512
        residues, a checkpoint with 512 positions holds 510.
    dropout : float
        Of hidden states and attention weights in training.
    norm_epsilon : float
        Added to the variance in every LayerNorm.
    """

    family: ClassVar[str] = "esm1nv"
    alphabet: ClassVar[Alphabet] = ESM1NV

    layers: int = 6
    hidden: int = 768
    heads: int = 12
    ffn: int = 0
    max_positions: int = 514
    dropout: float = 0.1
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _check_widths(self)

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    @property
    def max_residues(self) -> int:
        """Residues a sequence may have, without ``<s>`` and ``</s>``."""
        return self.max_positions - 2

    def huggingface(self) -> dict[str, Any]:
        """``config.json`` of the same encoder for ``transformers.MegatronBertModel``.

        transformers' LM head follows ``hidden_act`` (tanh GELU), that of ESM-1nv is the erf GELU;
        our own key says so.
        """
        return {
            "architectures": ["MegatronBertForMaskedLM"],
            "model_type": "megatron-bert",
            "vocab_size": len(ESM1NV),
            "pad_token_id": ESM1NV.pad_id,
            "bos_token_id": ESM1NV.bos_id,
            "eos_token_id": ESM1NV.eos_id,
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "intermediate_size": self.ffn,
            "max_position_embeddings": self.max_positions,
            "position_embedding_type": "absolute",
            "type_vocab_size": 2,
            "hidden_act": "gelu_new",
            "layer_norm_eps": self.norm_epsilon,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
            "initializer_range": 0.02,
            "tie_word_embeddings": True,
            "use_cache": False,
            OWN_KEY: {"family": self.family, "lm_head_activation": "gelu"},
        }

    @classmethod
    def from_huggingface(cls, config: Mapping[str, Any]) -> "ESM1nvConfig":
        """Read the architecture from a ``config.json``.

        Raises
        ------
        CheckpointError
            If the file describes another kind of model than ESM-1nv.
        """
        expected = {
            "model_type": "megatron-bert",
            "vocab_size": len(ESM1NV),
            "position_embedding_type": "absolute",
            "hidden_act": "gelu_new",
            OWN_KEY: {"family": cls.family, "lm_head_activation": "gelu"},
        }
        _expect(config, expected, "ESM-1nv")
        try:
            positions, dropout = config["max_position_embeddings"], config["hidden_dropout_prob"]
        except KeyError as error:
            raise CheckpointError(f"config.json has no key {error}") from None
        return cls(**_sizes(config), max_positions=positions, dropout=dropout)


Architecture = ESM2Config | ESM1nvConfig
FAMILIES: dict[str, type[ESM2Config] | type[ESM1nvConfig]] = {
    config.family: config for config in (ESM2Config, ESM1nvConfig)
}


def model_config(family: str, values: Mapping[str, Any]) -> Architecture:
    """Build an architecture by the name of its family.

    Parameters
    ----------
    family : str
        ``esm2`` or ``esm1nv``.
    values : mapping
        Fields of the family's class; ``dropout`` may be given for ESM-2 too, where it must be 0.

    Raises
    ------
    ConfigError
        If there is no such family, or a value is not possible in it.
    """
    if family not in FAMILIES:
        raise ConfigError(f"there is no model family {family!r}; choose {' or '.join(FAMILIES)}")
    values = dict(values)
    if family == ESM2Config.family and values.pop("dropout", 0.0):
        raise ConfigError("model.dropout must be 0 in ESM-2, which has none")
    try:
        return FAMILIES[family](**values)
    except TypeError as error:
        raise ConfigError(f"not an architecture of {family}: {error}") from None


def config_from_huggingface(raw: Mapping[str, Any]) -> Architecture:
    """Read the architecture of any family from a ``config.json``.

    Raises
    ------
    CheckpointError
        If the file describes no model of a known family.
    """
    kinds = {"esm": ESM2Config, "megatron-bert": ESM1nvConfig}
    kind = raw.get("model_type")
    if kind not in kinds:
        raise CheckpointError(
            f"config.json is not of an ESM-2 or ESM-1nv model: model_type is {kind!r}, "
            f"{' or '.join(map(repr, kinds))} is needed"
        )
    return kinds[kind].from_huggingface(raw)


def _check_widths(config: Architecture) -> None:
    if not config.ffn:
        object.__setattr__(config, "ffn", 4 * config.hidden)
    if config.hidden % config.heads:
        raise ConfigError(f"hidden {config.hidden} is not a multiple of heads {config.heads}")


def _expect(config: Mapping[str, Any], expected: Mapping[str, Any], model: str) -> None:
    for key, value in expected.items():
        if config.get(key) != value:
            raise CheckpointError(
                f"config.json is not of an {model} model: {key} is {config.get(key)!r}, "
                f"{value!r} is needed"
            )


def _sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    keys = {
        "layers": "num_hidden_layers",
        "hidden": "hidden_size",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
        "norm_epsilon": "layer_norm_eps",
    }
    try:
        return {ours: config[theirs] for ours, theirs in keys.items()}
    except KeyError as error:
        raise CheckpointError(f"config.json has no key {error}") from None
