"""One way to open any data set: a FASTA file, a folder of them, or a store."""

import hashlib
from pathlib import Path

from bionemo_ext.data.cluster_store import ClusterStore
from bionemo_ext.data.folder import (
    DESCRIPTION,
    TRAIN,
    VALIDATION,
    alphabet_of,
    is_store,
    read_description,
)
from bionemo_ext.data.source import ProteinSource
from bionemo_ext.data.store import SequenceStore, fasta_files
from bionemo_ext.errors import DataError
from bionemo_ext.sequences import ESM2, Alphabet


def open_data(
    train: Path,
    validation: Path | None = None,
    *,
    fraction: float = 0.05,
    seed: int = 42,
    alphabet: Alphabet = ESM2,
) -> tuple[ProteinSource, ProteinSource]:
    """Open what a run trains on and what it is validated with.

    Parameters
    ----------
    train : Path
        A store, a FASTA file or a folder of them.
    validation : Path, optional
        The same. Without it a store's own validation set is taken, and of FASTA files a random
        share of the sequences, which are similar to others then.
    fraction : float
        That share.
    seed : int
        Which sequences they are.
    alphabet : Alphabet
        What the model reads.

    Raises
    ------
    DataError, FastaError
        If a data set cannot be used, or a store holds token ids of another alphabet.
    """
    check_data(train, alphabet)
    if validation is not None:
        check_data(validation, alphabet)
        return _open(train, TRAIN, alphabet), _open(validation, VALIDATION, alphabet)
    if is_store(train):
        return ClusterStore(train, TRAIN), ClusterStore(train, VALIDATION)
    return SequenceStore.from_fasta(train, alphabet).split(fraction, seed)


def check_data(path: Path, alphabet: Alphabet = ESM2) -> None:
    """Refuse what can be told to be of no use without reading it.

    Raises
    ------
    DataError
        If it is a store that is unfinished, damaged, or of another alphabet.
    """
    if (path / "plan.json").is_file() and path.name.endswith(".partial"):
        raise DataError(f"{path} is a store that was not finished; build it again to go on")
    if is_store(path):
        held = alphabet_of(read_description(path), path)
        if held != alphabet:
            raise DataError(
                f"the store {path} holds token ids of {held.name}, but the model reads those of "
                f"{alphabet.name}; build a store for it"
            )


def fingerprint(path: Path) -> str:
    """Tell one state of a data set from another, without reading it.

    Returns
    -------
    str
        Of a store, a digest of what it says of itself, the digests of its sources among it; of
        FASTA files, one of their names and sizes.
    """
    if is_store(path):
        told = (path / DESCRIPTION).read_bytes()
    else:
        told = repr([(f.name, f.stat().st_size) for f in fasta_files(path)]).encode()
    return hashlib.sha256(told).hexdigest()


def _open(path: Path, part: str, alphabet: Alphabet) -> ProteinSource:
    if is_store(path):
        return ClusterStore(path, part)
    return SequenceStore.from_fasta(path, alphabet)
