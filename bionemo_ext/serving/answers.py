"""Answer many requests with few passes of the encoder; knows nothing of Triton.

Letters: B sequences of a request, L residues of its longest, H hidden size, V vocabulary,
C classes.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bionemo_ext.contract import (
    CONTACTS,
    LENGTH,
    LOGITS,
    MASKED_LOGITS,
    MAX_ANSWER_BYTES,
    POOLINGS,
    RESIDUES,
    position_name,
)
from bionemo_ext.errors import InputError, SequenceError
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import Predictor
from bionemo_ext.sequences import SequencePolicy, clean_sequence
from bionemo_ext.sequences.masked import clean_masked, refuse_masks
from bionemo_ext.serving.passes import Array, Found, Need, Passes

_MAY_HAVE_MASKS = frozenset({LOGITS, MASKED_LOGITS, LENGTH})
_OF_ANY_LAYER = frozenset({RESIDUES, *POOLINGS})


@dataclass(frozen=True, eq=False)
class Ask:
    """One request.

    Parameters
    ----------
    sequences : sequence of bytes
        As they came.
    outputs : frozenset of str
        What it wants.
    layers : sequence of int
        The layer of each sequence, from 0 or, negative, from the end; the last where empty.
    cancelled : callable
        Whether nobody waits for the answer any more.
    """

    sequences: Sequence[bytes]
    outputs: frozenset[str]
    layers: Sequence[int] = ()
    cancelled: Callable[[], bool] = lambda: False


# Of each sequence of a request: what it needs for each output but its length.
Rows = list[tuple[str, dict[str, Need]]]
# None for a request that was cancelled.
Answer = dict[str, Array] | InputError | None


class Answerer:
    """An encoder with its tasks.

    Parameters
    ----------
    encoder : Encoder
        What embeddings come from.
    tasks : mapping of str to Predictor
        By the name of their output.
    max_residues : int
        Residues a sequence may have.
    max_tokens : int
        Tokens of one pass of the encoder.
    max_answer_bytes : int
        Size that an answer may have.

    Attributes
    ----------
    counts : Counter
        Since the start: ``passes`` and their ``tokens``; ``sequences`` and ``residues`` answered;
        ``rows`` of residues in answers, and ``padding_rows`` among them.
    """

    def __init__(
        self,
        encoder: Encoder,
        tasks: Mapping[str, Predictor],
        max_residues: int,
        max_tokens: int,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self.encoder = encoder
        self.passes = Passes(encoder, tasks, max_tokens)
        self.max_residues = max_residues
        self.max_answer_bytes = max_answer_bytes
        self.policy = SequencePolicy(encoder.alphabet)
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Counter[str]:
        """What was done since the start."""
        return self._counts + self.passes.counts

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        """Answer each request, or say what is wrong with it.

        A sequence that stands in several requests goes through the encoder once.

        Returns
        -------
        list of dict, InputError or None
            In the order of ``asks``: arrays whose first dimension is B. Outputs with a row a
            residue ([B, L, H], [B, L, V], [B, L, C], contacts [B, L, L]) are padded with zeros;
            ``length`` [B, 1] tells. None for a request that was cancelled.
        """
        gone = {ask for ask in asks if ask.cancelled()}
        cleaned = {ask: self._clean(ask) for ask in asks if ask not in gone}
        needs: dict[str, set[Need]] = {}
        askers: dict[str, list[Ask]] = {}
        for ask, rows in cleaned.items():
            if not isinstance(rows, InputError):
                for sequence, wanted in rows:
                    needs.setdefault(sequence, set()).update(wanted.values())
                    askers.setdefault(sequence, []).append(ask)

        def still_wanted(sequence: str) -> bool:
            gone.update(ask for ask in askers[sequence] if ask not in gone and ask.cancelled())
            return any(ask not in gone for ask in askers[sequence])

        found = self.passes.run({s: names for s, names in needs.items() if names}, still_wanted)
        return [None if ask in gone else self._reply(ask, cleaned[ask], found) for ask in asks]

    def _clean(self, ask: Ask) -> Rows | InputError:
        rows: Rows = []
        layers = ask.layers or [-1] * len(ask.sequences)
        try:
            for place, (sent, layer) in enumerate(zip(ask.sequences, layers, strict=True)):
                name = position_name(place, len(ask.sequences))
                sequence = self._clean_sequence(sent.decode("utf-8", "replace"), name, ask.outputs)
                rows.append((sequence, self._needs(ask.outputs - {LENGTH}, layer, name)))
            self._refuse_large([sequence for sequence, _ in rows], ask.outputs)
        except InputError as error:
            # With its frames it would hold the request, and with that shared memory of Triton's.
            return error.with_traceback(None)
        return rows

    def _clean_sequence(self, text: str, name: str, outputs: frozenset[str]) -> str:
        if outputs <= _MAY_HAVE_MASKS:
            return clean_masked(text, name, self.policy, self.max_residues)
        refuse_masks(text, name, self.policy.alphabet)
        return clean_sequence(text, name, self.policy, self.max_residues)

    def _needs(self, outputs: frozenset[str], layer: int, name: str) -> dict[str, Need]:
        last = self.encoder.config.layers
        if not -last - 1 <= layer <= last:
            raise InputError(
                f"record {name!r} asks for layer {layer}; there are layers 0 (before the first) to "
                f"{last}, or -{last + 1} to -1 from the end"
            )
        chosen = layer % (last + 1)
        return {
            output: Need(
                output, chosen if output in _OF_ANY_LAYER else self.passes.last_layer(output)
            )
            for output in outputs
        }

    def _refuse_large(self, sequences: Sequence[str], outputs: frozenset[str]) -> None:
        longest = max(range(len(sequences)), key=lambda i: len(sequences[i]))
        residues = len(sequences[longest])
        size = 4 * len(sequences) * sum(self._numbers(name, residues) for name in outputs)
        if size > self.max_answer_bytes:
            raise SequenceError(
                f"record {position_name(longest, len(sequences))!r} of {residues:,} residues makes "
                f"the answer {size:,} bytes large, the limit is {self.max_answer_bytes:,}: send "
                "fewer sequences at once"
            )

    def _numbers(self, output: str, residues: int) -> int:
        """Numbers of one row of an output, padding included, as far as they grow with length."""
        if output == RESIDUES:
            return residues * self.encoder.hidden_size
        if output in (LOGITS, MASKED_LOGITS):
            return residues * len(self.encoder.alphabet)
        return residues**2 if output == CONTACTS else residues

    def _reply(self, ask: Ask, rows: Rows | InputError, found: Found) -> Answer:
        if isinstance(rows, InputError):
            return rows
        reply: dict[str, Array] = {
            name: self._stacked([found[sequence][needs[name]] for sequence, needs in rows])
            for name in ask.outputs - {LENGTH}
        }
        if LENGTH in ask.outputs:
            reply[LENGTH] = np.array([[len(sequence)] for sequence, _ in rows], dtype=np.int32)
        residues = sum(len(sequence) for sequence, _ in rows)
        self._counts += Counter(sequences=len(rows), residues=residues)
        return reply

    def _stacked(self, rows: Sequence[Array]) -> Array:
        """Rows of one shape as they are; rows a residue padded with zeros to the longest."""
        if rows[0].ndim == 1:
            return np.stack(rows)
        shape = (len(rows), *np.max([row.shape for row in rows], axis=0))
        stacked = np.zeros(shape, dtype=np.float32)
        for target, row in zip(stacked, rows, strict=True):
            target[tuple(map(slice, row.shape))] = row
        used = sum(map(len, rows))
        self._counts += Counter(rows=shape[0] * shape[1], padding_rows=shape[0] * shape[1] - used)
        return stacked
