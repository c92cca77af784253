"""The token alphabets of ESM-2 and ESM-1nv, and sequences as token ids.

Arrays name their shape: B sequences, L tokens of the longest, T tokens of all together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.errors import SequenceError

_ESM2_TOKENS = (
    "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"
)
_ESM1NV_TOKENS = "<unk> <s> </s> <pad> <mask> L A S G V E R T I D P K N F Q Y H M C W X B Z U O"


@dataclass(frozen=True)
class Alphabet:
    """A fixed list of tokens; a token's id is its place in the list.

    Parameters
    ----------
    name : str
        What users call the model family.
    tokens : tuple of str
        All tokens in the order of their ids.
    bos, eos, pad, mask, unk : str
        The special tokens. ``bos`` opens a sequence (``<cls>`` in ESM-2, ``<s>`` in ESM-1nv).
    max_residues : int
        The longest sequence the published models were trained on, without ``bos`` and ``eos``.
    """

    name: str
    tokens: tuple[str, ...]
    bos: str
    eos: str
    pad: str
    mask: str
    unk: str
    max_residues: int
    ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {token: i for i, token in enumerate(self.tokens)})

    def __len__(self) -> int:
        return len(self.tokens)

    def __hash__(self) -> int:
        return hash((self.name, self.tokens))

    @property
    def bos_id(self) -> int:
        """Id of the token that opens a sequence."""
        return self.ids[self.bos]

    @property
    def eos_id(self) -> int:
        """Id of the token that closes a sequence."""
        return self.ids[self.eos]

    @property
    def pad_id(self) -> int:
        """Id of the padding token."""
        return self.ids[self.pad]

    @property
    def mask_id(self) -> int:
        """Id of the mask token."""
        return self.ids[self.mask]

    @cached_property
    def residues(self) -> str:
        """The one-letter tokens, in the order of their ids."""
        return "".join(token for token in self.tokens if len(token) == 1)

    @cached_property
    def standard_ids(self) -> NDArray[np.int64]:
        """Ids of the 20 standard amino acids, in the order of their ids."""
        return np.array([self.ids[t] for t in self.residues if t in "ACDEFGHIKLMNPQRSTVWY"])

    @cached_property
    def _table(self) -> NDArray[np.int16]:
        table = np.full(256, -1, dtype=np.int16)
        for letter in self.residues:
            table[ord(letter)] = self.ids[letter]
        return table

    def encode_residues(self, sequence: str) -> NDArray[np.int64]:
        """Token ids of the residues alone, shape [L].

        Raises
        ------
        SequenceError
            If a letter is not in the alphabet.
        """
        ids = self._table[np.frombuffer(sequence.encode("latin-1", "replace"), dtype=np.uint8)]
        if ids.size and ids.min() < 0:
            position = int(np.argmin(ids >= 0))
            raise SequenceError(
                f"{sequence[position]!r} at position {position + 1} is not in the {self.name} "
                f"alphabet ({self.residues})"
            )
        return ids.astype(np.int64)

    def encode(self, sequence: str) -> NDArray[np.int64]:
        """Token ids of one sequence between ``bos`` and ``eos``, shape [L + 2]."""
        return np.concatenate(([self.bos_id], self.encode_residues(sequence), [self.eos_id]))

    def encode_padded(
        self, sequences: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token ids and attention mask (1 at tokens, 0 at padding), both of shape [B, L]."""
        rows = [self.encode(sequence) for sequence in sequences]
        tokens = np.full((len(rows), max(map(len, rows), default=0)), self.pad_id, dtype=np.int64)
        for row, ids in zip(tokens, rows, strict=True):
            row[: len(ids)] = ids
        lengths = np.array([len(ids) for ids in rows], dtype=np.int64)
        return tokens, (np.arange(tokens.shape[1]) < lengths[:, None]).astype(np.int64)

    def encode_packed(
        self, sequences: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token ids of all sequences end to end, shape [T], and their offsets, shape [B + 1]."""
        rows = [self.encode(sequence) for sequence in sequences]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in rows], out=offsets[1:])
        return np.concatenate([*rows, np.empty(0, dtype=np.int64)]), offsets

    def decode(self, ids: Sequence[int] | NDArray[np.int64]) -> str:
        """The residues among ``ids``, special tokens left out."""
        return "".join(t for t in (self.tokens[i] for i in ids) if len(t) == 1)


ESM2 = Alphabet(
    "ESM-2", tuple(_ESM2_TOKENS.split()), "<cls>", "<eos>", "<pad>", "<mask>", "<unk>", 1022
)
ESM1NV = Alphabet(
    "ESM-1nv", tuple(_ESM1NV_TOKENS.split()), "<s>", "</s>", "<pad>", "<mask>", "<unk>", 512
)
