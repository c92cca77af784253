"""Protein sequences: alphabets, tokenizers, FASTA files and the policy for odd input (no torch)."""

from bionemo_ext.sequences.alphabet import ESM1NV, ESM2, Alphabet
from bionemo_ext.sequences.fasta import Record, read_fasta
from bionemo_ext.sequences.policy import LengthPolicy, SequencePolicy, clean_sequence, windows

__all__ = [
    "ESM1NV",
    "ESM2",
    "Alphabet",
    "LengthPolicy",
    "Record",
    "SequencePolicy",
    "clean_sequence",
    "read_fasta",
    "windows",
]
