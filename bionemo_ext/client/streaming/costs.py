"""What one sequence costs a request: tokens, passes of the encoder, bytes of its answer.

Letters: L residues of a sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bionemo_ext.contract import (
    CONTACTS,
    LOGITS,
    MASKED_LOGITS,
    PAE,
    PDB,
    PLDDT,
    PTM,
    SCAN,
    SCORE,
    Endpoint,
)

# Of one request: enough to fill the encoder, few enough for progress to be seen.
REQUEST_TOKENS = 4_096
# The same where every sequence takes many passes, as with masks: tokens times passes.
REQUEST_WORK = 65_536
# Answers of one request, padding included.
REQUEST_BYTES = 16 << 20

# A window or a beginning has another answer than the protein, and no part of the protein's.
WHOLE_ONLY = frozenset({CONTACTS, LOGITS, MASKED_LOGITS, PAE, PDB, PLDDT, PTM, SCAN, SCORE})
# What may be asked of a sequence with masks.
OF_MASKS = frozenset({LOGITS, MASKED_LOGITS})
# A PDB file has a line of 81 letters an atom, and eight atoms a residue or so.
_PDB_BYTES = 700


@dataclass(frozen=True)
class Costs:
    """Costs of sequences at one endpoint.

    Parameters
    ----------
    endpoint : Endpoint
        What is asked.
    outputs : tuple of str
        What is asked of it.
    masked : bool
        Whether each residue takes a pass of its own.
    """

    endpoint: Endpoint
    outputs: tuple[str, ...]
    masked: bool = False

    def work(self, residues: int) -> int:
        """Tokens that go through the encoder, or for a structure pairs of residues."""
        tokens = residues + 2
        return tokens * residues if self.masked or PDB in self.outputs else tokens

    def answer_bytes(self, residues: int) -> int:
        """Bytes of the outputs of one sequence that is padded to ``residues``."""
        return sum(self._bytes(output, residues) for output in self.outputs)

    def fits(self, sequences: int, longest: int, tokens: int, work: int) -> bool:
        """Whether as many sequences may be one request."""
        return (
            sequences <= self.endpoint.max_batch_size
            and tokens <= REQUEST_TOKENS
            and work <= REQUEST_WORK
            and sequences * self.answer_bytes(longest) <= REQUEST_BYTES
        )

    def _bytes(self, output: str, residues: int) -> int:
        if output == PDB:
            return _PDB_BYTES * residues
        size = 4
        for dimension in self.endpoint.output(output).dims:
            size *= residues if dimension < 0 else dimension
        return size


def may_be_cut(outputs: Sequence[str]) -> bool:
    """Whether windows, or the beginning, of a long sequence have answers that make sense."""
    return WHOLE_ONLY.isdisjoint(outputs)


def may_have_masks(outputs: Sequence[str]) -> bool:
    """Whether masks may stand in a sequence."""
    return OF_MASKS.issuperset(outputs)
