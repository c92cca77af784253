"""Few passes of the encoder for what many sequences need; knows nothing of Triton.

Letters: L residues of a sequence, T packed tokens, H hidden size, V vocabulary, C classes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo_ext.contract import CONTACTS, LOGITS, MASKED_LOGITS, POOLINGS, RESIDUES
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.packing import Encoded, token_batches
from bionemo_ext.inference.predictor import Predictor
from bionemo_ext.inference.task import predict
from bionemo_ext.sequences.masked import encode_masked

Array = NDArray[np.generic]


class Need(NamedTuple):
    """An output of one sequence, and the layer it is taken from."""

    name: str
    layer: int


Needs = Mapping[str, set[Need]]
Found = dict[str, dict[Need, Array]]


class Passes:
    """An encoder with its tasks.

    Parameters
    ----------
    encoder : Encoder
        What embeddings come from.
    tasks : mapping of str to Predictor
        By the name of their output. Those on one encoder share its pass; a task that adapted or
        trained its encoder has a pass of its own.
    max_tokens : int
        Tokens of one pass.

    Attributes
    ----------
    counts : Counter
        ``passes`` of an encoder so far, and ``tokens`` that went through them.
    """

    def __init__(self, encoder: Encoder, tasks: Mapping[str, Predictor], max_tokens: int) -> None:
        self.encoder = encoder
        self.tasks = tasks
        self.max_tokens = max_tokens
        self.counts: Counter[str] = Counter()

    def last_layer(self, name: str) -> int:
        """The deepest layer of the encoder that an output comes from."""
        encoder = self.tasks[name].encoder if name in self.tasks else self.encoder
        return encoder.config.layers

    def run(self, needs: Needs, still_wanted: Callable[[str], bool]) -> Found:
        """Find what each sequence needs.

        Parameters
        ----------
        needs : mapping of str to set of Need
            By clean sequence.
        still_wanted : callable
            Asked of every sequence before its pass; one that nobody waits for is left out.

        Returns
        -------
        dict of str to dict of Need to array
            [H] or [C], or [L, H], [L, V] and [L, C] for residues, [L, L] for contacts; masked
            logits have a row a mask.
        """
        found: Found = {sequence: {} for sequence in needs}
        for encoder, names in self._by_encoder(
            {need.name for one in needs.values() for need in one}
        ):
            groups: dict[int, list[str]] = {}
            at_masks = []
            for sequence, wanted in needs.items():
                here = {need for need in wanted if need.name in names}
                if {need.name for need in here} == {MASKED_LOGITS}:
                    at_masks.append(sequence)
                elif here:
                    groups.setdefault(max(need.layer for need in here), []).append(sequence)
            for sequences in groups.values():
                for batch in self._batches(sequences, still_wanted):
                    self._pass(encoder, names, batch, needs, found)
            for batch in self._batches(at_masks, still_wanted):
                self._pass_at_masks(batch, needs, found)
        self._find_contacts(needs, still_wanted, found)
        return found

    def _by_encoder(self, names: set[str]) -> list[tuple[Encoder, set[str]]]:
        """Which outputs one pass of an encoder gives, of those that are wanted."""
        encoders = {id(self.encoder): self.encoder}
        encoders |= {id(task.encoder): task.encoder for task in self.tasks.values()}
        groups: dict[int, set[str]] = {}
        for name in names - {CONTACTS}:
            encoder = self.tasks[name].encoder if name in self.tasks else self.encoder
            groups.setdefault(id(encoder), set()).add(name)
        return [(encoders[key], group) for key, group in groups.items()]

    def _batches(
        self, sequences: Sequence[str], still_wanted: Callable[[str], bool]
    ) -> Iterator[list[str]]:
        lengths = [len(sequence) + 2 for sequence in sequences]
        for indices in token_batches(lengths, self.max_tokens):
            batch = [sequences[i] for i in indices if still_wanted(sequences[i])]
            if batch:
                yield batch

    def _pass(
        self, encoder: Encoder, names: set[str], batch: Sequence[str], needs: Needs, found: Found
    ) -> None:
        """Take a batch through the encoder, to the deepest layer that is needed."""
        tokens, offsets = self._tokens(batch)
        wanted = {need for sequence in batch for need in needs[sequence] if need.name in names}
        for layer, encoded in encoder.hidden_states(tokens, offsets, {n.layer for n in wanted}):
            for need in (need for need in wanted if need.layer == layer):
                places = [i for i, sequence in enumerate(batch) if need in needs[sequence]]
                parts, part_tokens = encoded, tokens
                if len(places) < len(batch):
                    parts, part_tokens = _some(encoded, tokens, places)
                for i, row in zip(places, self._rows(need.name, parts, part_tokens), strict=True):
                    found[batch[i]][need] = row

    def _pass_at_masks(self, batch: Sequence[str], needs: Needs, found: Found) -> None:
        """The same for a batch of which masked logits alone are needed, as in a masked scan."""
        masked = self.encoder.encode_masks(*self._tokens(batch))
        rows = self._logits(masked, [slice(a, b) for a, b in _spans(masked)])
        for sequence, row in zip(batch, rows, strict=True):
            found[sequence] |= {n: row for n in needs[sequence] if n.name == MASKED_LOGITS}

    def _tokens(self, batch: Sequence[str]) -> tuple[Tensor, list[int]]:
        """Packed tokens [T] of sequences that may have masks, and their offsets."""
        rows = [encode_masked(sequence, self.encoder.alphabet) for sequence in batch]
        tokens = torch.from_numpy(np.concatenate(rows))
        self._count(len(tokens))
        return tokens, np.cumsum([0, *map(len, rows)]).tolist()

    def _rows(self, name: str, encoded: Encoded, tokens: Tensor) -> Iterable[Array]:
        if name == RESIDUES:
            return [to_numpy(rows) for rows in encoded.residues()]
        if name in POOLINGS:
            return to_numpy(getattr(encoded, name)())
        if name == LOGITS:
            return self._logits(encoded, [slice(a + 1, b - 1) for a, b in _spans(encoded)])
        if name == MASKED_LOGITS:
            masks = tokens == self.encoder.alphabet.mask_id
            masked = encoded.at(masks.to(encoded.hidden.device))
            return self._logits(masked, [slice(a, b) for a, b in _spans(masked)])
        task = self.tasks[name]
        return predict(task.head, task.spec, encoded)

    def _logits(self, encoded: Encoded, spans: Sequence[slice]) -> list[Array]:
        logits = to_numpy(self.encoder.logits(encoded))
        return [logits[span] for span in spans]

    def _find_contacts(
        self, needs: Needs, still_wanted: Callable[[str], bool], found: Found
    ) -> None:
        """Contact maps, one sequence a pass: they need every layer's attention."""
        for sequence, wanted in needs.items():
            for need in wanted:
                if need.name == CONTACTS and still_wanted(sequence):
                    self._count(len(sequence) + 2)
                    found[sequence][need] = to_numpy(self.encoder.contacts(sequence))

    def _count(self, tokens: int) -> None:
        self.counts += Counter(passes=1, tokens=tokens)


def to_numpy(tensor: Tensor) -> Array:
    """Move a tensor to the CPU in fp32."""
    return tensor.float().cpu().numpy()


def _spans(encoded: Encoded) -> list[tuple[int, int]]:
    return list(zip(encoded.offsets, encoded.offsets[1:], strict=False))


def _some(encoded: Encoded, tokens: Tensor, indices: Sequence[int]) -> tuple[Encoded, Tensor]:
    """Some sequences of a packed batch, and their tokens."""
    spans = _spans(encoded)
    hidden = torch.cat([encoded.hidden[slice(*spans[i])] for i in indices])
    offsets = np.cumsum([0, *(spans[i][1] - spans[i][0] for i in indices)]).tolist()
    return Encoded(hidden, tuple(offsets)), torch.cat([tokens[slice(*spans[i])] for i in indices])
