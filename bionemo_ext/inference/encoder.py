"""ESM-2 and ESM-1nv on packed sequences: a batch's tokens end to end, no padding anywhere.

Shapes: B sequences, T packed tokens, L residues of one sequence, H hidden, N heads, D head width,
V vocabulary, r rank of an adapter.
"""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bionemo_ext.errors import CheckpointError, SequenceError
from bionemo_ext.huggingface import (
    Architecture,
    ESM2Config,
    State,
    inverse_frequencies,
    read_model,
    weights_digest,
)
from bionemo_ext.huggingface.adapter import Adapter
from bionemo_ext.inference.attention import (
    attend,
    average_product_correct,
    rotate,
    token_positions,
)
from bionemo_ext.inference.linear import Linear
from bionemo_ext.inference.low_rank import LowRank, low_rank_maps
from bionemo_ext.inference.names import linear_maps, named
from bionemo_ext.inference.packing import Encoded, token_batches

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Share of tokens that were <mask> when ESM-2 was trained: 15% chosen, 80% of these masked.
_TRAINING_MASK_RATIO = 0.15 * 0.8


class Encoder:
    """An ESM-2 or ESM-1nv model ready to encode sequences.

    Parameters
    ----------
    config : Architecture
        The architecture.
    state : dict of Tensor
        What :func:`bionemo_ext.huggingface.read_model` gives.
    dtype : torch.dtype
        Arithmetic of the matrix products; norms' statistics and softmax stay in fp32.
    device : str
        Where to run.
    """

    def __init__(
        self, config: Architecture, state: State, dtype: torch.dtype, device: str = "cpu"
    ) -> None:
        self.config, self.dtype, self.device = config, dtype, torch.device(device)
        self.alphabet = config.alphabet
        self._weights = {n: t.to(self.device, self.dtype) for n, t in named(config, state).items()}
        self._maps = {
            name: Linear.of(*(self._weights.pop(f"{name}.{end}") for end in ("weight", "bias")))
            for name in linear_maps(config)
        }
        self._low_rank: Mapping[str, LowRank] = {}
        self._inverse_frequencies = inverse_frequencies(config.head_dim).to(self.device)
        # As each family was trained: the exact GELU, and the fused kernel's tanh form.
        self._gelu = "none" if isinstance(config, ESM2Config) else "tanh"
        self.folder: Path | None = None

    @classmethod
    def load(
        cls,
        folder: str | Path,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "cpu",
    ) -> "Encoder":
        """Read a Hugging Face folder.

        Raises
        ------
        CheckpointError
            If a file is missing, damaged or of another kind of model.
        """
        encoder = cls(*read_model(Path(folder)), DTYPES[dtype], device)
        encoder.folder = Path(folder)
        return encoder

    def adapted(self, adapter: Adapter) -> "Encoder":
        """The same model with an adapter beside its weights, which both hold once in memory.

        Raises
        ------
        CheckpointError
            If the adapter was trained on other weights, or does not fit.
        """
        if adapter.base_digest not in ("", self.digest):
            raise CheckpointError(
                f"the adapter was trained on another encoder ({adapter.base_digest[:12]}) than "
                f"this one ({self.digest[:12]})"
            )
        other = copy.copy(self)
        other._low_rank = {
            name: maps.to(self.device, self.dtype)
            for name, maps in low_rank_maps(self.config, adapter).items()
        }
        return other

    @property
    def hidden_size(self) -> int:
        """Width of an embedding."""
        return self.config.hidden

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights' file: what a task's head was trained on."""
        if self.folder is None:
            raise ValueError("an encoder that was not loaded from a folder has no digest")
        return weights_digest(self.folder)

    def encode(self, sequences: Sequence[str]) -> Encoded:
        """Encode clean sequences in one pass.

        Returns
        -------
        Encoded
            Hidden states after the final LayerNorm, [T, H].

        Raises
        ------
        SequenceError
            If there is no sequence, one is empty or too long, or a letter is not in the alphabet.
        """
        limit = self.config.max_residues
        if not sequences or not all(0 < len(sequence) <= limit for sequence in sequences):
            raise SequenceError(f"sequences of 1 to {limit:,} residues are needed")
        tokens, offsets = self.alphabet.encode_packed(sequences)
        return self.encode_tokens(torch.from_numpy(tokens), offsets.tolist())

    def encode_tokens(self, tokens: Tensor, offsets: Sequence[int]) -> Encoded:
        """Encode token ids [T]; sequence i is ``tokens[offsets[i]:offsets[i + 1]]``."""
        ((_, encoded),) = self.hidden_states(tokens, offsets, {self.config.layers})
        return encoded

    @torch.inference_mode()
    def hidden_states(
        self, tokens: Tensor, offsets: Sequence[int], layers: Collection[int]
    ) -> Iterator[tuple[int, Encoded]]:
        """Encode token ids [T] and give the hidden states of some layers, the first ones first.

        Layers count as transformers' ``hidden_states`` do: 0 is what the first layer sees, and the
        last one comes after the final LayerNorm. Nothing is computed beyond the deepest.

        Yields
        ------
        layer, encoded : int, Encoded
        """
        tokens = tokens.to(self.device)
        positions = token_positions(offsets, self.device)
        hidden, rotary = self._embed(tokens, offsets, positions), self._rotary(positions)
        for layer in range(max(layers)):
            if layer in layers:
                yield layer, Encoded(hidden, tuple(offsets))
            query, key, value = self._queries(layer, hidden, rotary)
            context = attend(query, key, value, offsets)
            hidden = self._after_attention(layer, hidden, context)
        if max(layers) == self.config.layers:
            hidden = self._norm(hidden, "final")
        yield max(layers), Encoded(hidden, tuple(offsets))

    @torch.inference_mode()
    def encode_masks(self, tokens: Tensor, offsets: Sequence[int]) -> Encoded:
        """Encode token ids [T] at their masks alone.

        The last layer is asked for from there: of other tokens it computes keys and values only.

        Returns
        -------
        Encoded
            Hidden states after the final LayerNorm, a row a mask; its offsets count masks.
        """
        layer = self.config.layers - 1
        ((_, before),) = self.hidden_states(tokens, offsets, {layer})
        places = (tokens == self.alphabet.mask_id).to(self.device)
        masked = before.at(places)
        rotary = self._rotary(token_positions(offsets, self.device))
        query, key, value = self._queries(layer, before.hidden, rotary)
        context = attend(query[places], key, value, offsets, masked.offsets)
        hidden = self._after_attention(layer, masked.hidden, context)
        return Encoded(self._norm(hidden, "final"), masked.offsets)

    def embed(
        self, sequences: Sequence[str], max_tokens: int = 4096
    ) -> Iterator[tuple[list[int], Encoded]]:
        """Encode any number of sequences in batches of like lengths.

        Parameters
        ----------
        sequences : sequence of str
            Clean sequences.
        max_tokens : int
            Tokens in a batch; a longer sequence is a batch of its own.

        Yields
        ------
        indices, encoded : list of int, Encoded
            Sequence i of the batch is ``sequences[indices[i]]``. Every one comes once, the longest
            first.
        """
        lengths = [len(sequence) + 2 for sequence in sequences]
        for batch in token_batches(lengths, max_tokens):
            yield batch, self.encode([sequences[i] for i in batch])

    @torch.inference_mode()
    def logits(self, encoded: Encoded) -> Tensor:
        """Scores of the alphabet's tokens at every place, [T, V] in fp32."""
        hidden = self._maps["lm_head.dense"].gelu(encoded.hidden.to(self.dtype), "none")
        hidden = self._norm(hidden, "lm_head.norm")
        return F.linear(hidden, self._weights["embedding"], self._weights["lm_head.bias"]).float()

    @torch.inference_mode()
    def contacts(self, sequence: str) -> Tensor:
        """Contact probabilities of one sequence, [L, L] in fp32.

        Logistic regression on the attention maps of all layers and heads (Rao et al., 2021,
        doi 10.1101/2020.12.15.422761), a layer in memory at a time.

        Raises
        ------
        CheckpointError
            For ESM-1nv, which has no such regression.
        """
        if "contact.weight" not in self._weights:
            raise CheckpointError("an ESM-1nv model has no contact head; ESM-2 models have one")
        tokens = torch.from_numpy(self.alphabet.encode(sequence)).to(self.device)
        offsets = [0, len(tokens)]
        positions = token_positions(offsets, self.device)
        hidden, rotary = self._embed(tokens, offsets, positions), self._rotary(positions)
        logits = self._weights["contact.bias"].float()
        coefficients = self._weights["contact.weight"].float().view(self.config.layers, -1)
        for layer in range(self.config.layers):
            query, key, value = self._queries(layer, hidden, rotary)
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
            scores = query.float() @ key.float().mT * self.config.head_dim**-0.5
            weights = scores.softmax(-1)
            maps = average_product_correct(weights[:, 1:-1, 1:-1])
            logits = logits + torch.einsum("nij,n->ij", maps, coefficients[layer])
            context = (weights.to(value.dtype) @ value).transpose(0, 1)
            hidden = self._after_attention(layer, hidden, context)
        return logits.sigmoid()

    def _embed(self, tokens: Tensor, offsets: Sequence[int], positions: Tensor) -> Tensor:
        """Hidden states before the first layer, [T, H]."""
        words = self._weights["embedding"][tokens]
        if "positions" in self._weights:
            return words + self._weights["positions"][positions]
        return (words.float() * self._token_dropout(tokens, offsets)[:, None]).to(self.dtype)

    def _token_dropout(self, tokens: Tensor, offsets: Sequence[int]) -> Tensor:
        """ESM-2's scale of every token, [T]; 0 at masks (Lin et al., 2023, supplement A.1.5)."""
        masked = tokens == self.alphabet.mask_id
        sizes = torch.tensor(offsets, device=self.device).diff()
        sequence = torch.repeat_interleave(sizes)
        counts = torch.zeros(len(sizes), device=self.device).index_add_(0, sequence, masked.float())
        return ((1 - _TRAINING_MASK_RATIO) / (1 - counts / sizes))[sequence] * ~masked

    def _rotary(self, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        """Cosine and sine of every token's position, each [T, 1, D]; ESM-2 alone turns by them."""
        if "positions" in self._weights:
            return None
        angles = torch.outer(positions.float(), self._inverse_frequencies).repeat(1, 2)[:, None]
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)

    def _queries(
        self, layer: int, hidden: Tensor, rotary: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, rotated in ESM-2, and values, each [T, N, D]."""
        qkv = self._linear(self._norm(hidden, f"{layer}.attention.norm"), f"{layer}.qkv")
        query, key, value = qkv.unflatten(-1, (3, self.config.heads, -1)).unbind(1)
        return rotate(query, rotary), rotate(key, rotary), value

    def _after_attention(self, layer: int, hidden: Tensor, context: Tensor) -> Tensor:
        hidden = self._linear(context.flatten(1), f"{layer}.attention.out", plus=hidden)
        normed, name = self._norm(hidden, f"{layer}.ffn.norm"), f"{layer}.ffn.in"
        if name in self._low_rank:
            inner = F.gelu(self._linear(normed, name), approximate=self._gelu)
        else:
            inner = self._maps[name].gelu(normed, self._gelu)
        return self._linear(inner, f"{layer}.ffn.out", plus=hidden)

    def _linear(self, x: Tensor, name: str, plus: Tensor | None = None) -> Tensor:
        """A linear map with its adapter, and ``plus`` added where one is given."""
        linear, low_rank = self._maps[name], self._low_rank.get(name)
        out = linear(x) if plus is None else linear.plus(x, plus)
        return out if low_rank is None else out + low_rank(x)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, self.config.norm_epsilon)
