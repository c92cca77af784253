"""Training sequences too similar to a validation one, found by MMseqs2.

By default a neighbour is a training sequence with any significant local alignment at 50% identity.
The ESM-2 paper (Lin et al., 2023) asked more of one: its search, with the training set as queries
and the validation set as targets, was ``-s 7 --min-seq-id 0.5 --alignment-mode 3 --max-seqs 300
-c 0.8 --cov-mode 0``, so the alignment had to cover 80% of both and a shared domain was left in.
MMseqs2's prefilter finds slightly different pairs in the two directions and with other
sensitivities, so here both are searched, at 7.5, until neither finds anything.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.errors import RunError

_MMSEQS = "mmseqs"
_SENSITIVITY = 7.5
# E-values. Without a condition on coverage a hit must be none of chance; with one, short proteins
# count too, which reach no small value however similar they are.
_SIGNIFICANT, _COVERED = 1e-3, 10
_MOST_HITS = 1000  # a query; beyond them another round finds the rest
_MOST_ROUNDS = 20


@dataclass(frozen=True)
class Similarity:
    """What makes two sequences neighbours.

    Parameters
    ----------
    identity : float
        Share of identical residues in the alignment.
    coverage : float
        Share of each of the two sequences that the alignment covers; 0 takes any significant one.
    threads : int
        Cores to search with; 0 uses all.
    """

    identity: float = 0.5
    coverage: float = 0.0
    threads: int = 0

    def words(self) -> list[str]:
        """The same for ``mmseqs``."""
        chosen = {
            "-s": _SENSITIVITY,
            "--min-seq-id": self.identity,
            "-c": self.coverage,
            "--cov-mode": 0,
            "-e": _COVERED if self.coverage else _SIGNIFICANT,
            "--alignment-mode": 3,
            "--max-seqs": _MOST_HITS,
        }
        return [str(word) for pair in chosen.items() for word in pair]


def mmseqs_version() -> str | None:
    """Version of the installed MMseqs2, or None where there is none."""
    if shutil.which(_MMSEQS) is None:
        return None
    done = subprocess.run([_MMSEQS, "version"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


Fasta = Callable[[NDArray[np.bool_]], Iterable[bytes]]
"""FASTA text of the wanted training sequences, named by their numbers."""


def neighbours(
    fasta: Fasta,
    validation: Iterable[bytes],
    wanted: NDArray[np.bool_],
    similarity: Similarity,
    scratch: Path,
) -> tuple[NDArray[np.bool_], int]:
    """Find the training sequences that are neighbours of a validation one.

    Parameters
    ----------
    fasta : callable
        Gives the training sequences of a mask.
    validation : iterable of bytes
        FASTA text of the validation sequences.
    wanted : array of bool
        The training sequences, shape [N].
    similarity : Similarity
        What a neighbour is.
    scratch : Path
        An empty folder to search in; several times the sequences' size is needed there.

    Returns
    -------
    array of bool
        The neighbours, shape [N].
    int
        Rounds of search until none was left.

    Raises
    ------
    RunError
        If ``mmseqs`` fails.
    """
    found = np.zeros_like(wanted)
    held, train = scratch / "validation.fasta", scratch / "train.fasta"
    _write(held, validation)
    _write(train, fasta(wanted))
    # Alone in its search, a query's hits do not depend on the other queries, so the long search is
    # done once; the short one depends on what is left, and is repeated.
    found[_search(scratch, train, held, similarity, "query")] = True
    for rounds in range(1, _MOST_ROUNDS + 1):
        _write(train, fasta(wanted & ~found))
        hits = _search(scratch, held, train, similarity, "target")
        found[hits] = True
        if not hits.size:
            return found, rounds
    raise RunError(f"mmseqs still found neighbours after {_MOST_ROUNDS} rounds of search")


def _write(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(lines)


def _search(
    scratch: Path, queries: Path, targets: Path, similarity: Similarity, column: str
) -> NDArray[np.int64]:
    """Numbers of the training sequences that are in any hit."""
    if not queries.stat().st_size or not targets.stat().st_size:
        return np.empty(0, np.int64)
    hits, rest = scratch / "hits.tsv", scratch / "rest"
    threads = ["--threads", str(similarity.threads)] if similarity.threads else []
    words = [_MMSEQS, "easy-search", str(queries), str(targets), str(hits), str(rest)]
    words += [*similarity.words(), *threads, "--format-output", column, "-v", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise RunError(f"mmseqs ended with code {done.returncode}: {said[-1]}")
    shutil.rmtree(rest, ignore_errors=True)
    return np.unique(np.array(hits.read_bytes().split(), dtype=np.int64))
