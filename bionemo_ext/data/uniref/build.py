"""UniRef50, UniRef90 and their membership to a store, as ESM-2 was trained on.

A random share of the UniRef50 clusters becomes the validation set, by their representatives.
Every training sequence within 50% identity of one of those is removed. The UniRef90 members of the
clusters that are left are what training draws from.
"""

import shutil
from dataclasses import asdict, dataclass, field
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.data.folder import TRAIN, VALIDATION, Description
from bionemo_ext.data.progress import Bar, silent
from bionemo_ext.data.uniref.encode import Source
from bionemo_ext.data.uniref.encoded import Encoded
from bionemo_ext.data.uniref.members import read_pairs, recognise
from bionemo_ext.data.uniref.names import NameIndex
from bionemo_ext.data.uniref.neighbours import Similarity, mmseqs_version, neighbours
from bionemo_ext.data.uniref.parts import Part, fasta_lines, write_store
from bionemo_ext.data.uniref.split import Share, set_aside
from bionemo_ext.data.uniref.workplace import Result, Workplace
from bionemo_ext.errors import DataError, RunError
from bionemo_ext.sequences import ESM2

Mask = NDArray[np.bool_]


class Search(str, Enum):
    """Which training sequences MMseqs2 compares with the validation set."""

    AUTO = "auto"
    MEMBERS = "members"
    REPRESENTATIVES = "representatives"
    NONE = "none"


@dataclass(frozen=True)
class UniRefOptions:
    """What to build.

    Parameters
    ----------
    uniref50, uniref90, members : Path
        The downloads.
    out : Path
        The store's folder, which must not be there yet.
    validation : Share
        UniRef50 clusters set aside: 0.5%, as for ESM-2.
    seed : int
        Which.
    release : str, optional
        UniRef's release, for the description.
    search : Search
        ``members``: a cluster goes if its representative is a neighbour of a validation sequence,
        and so does each member that is one. ``representatives``: only these are searched, as for
        ESM-2. ``none``: other clusters are taken for dissimilar, as they were made to be.
        ``auto``: ``members`` where ``mmseqs`` is installed, else ``none``.
    similarity : Similarity
        What a neighbour is.
    """

    uniref50: Path
    uniref90: Path
    members: Path
    out: Path
    validation: Share = field(default_factory=lambda: Share(0.005))
    seed: int = 42
    release: str | None = None
    search: Search = Search.AUTO
    similarity: Similarity = field(default_factory=Similarity)


@dataclass(frozen=True)
class _Sets:
    """Masks over UniRef50 (``..50``, clusters and their representatives) and UniRef90."""

    cluster_of: NDArray[np.int64]  # of each UniRef90 record; -1 for none
    unique50: Mask
    validation50: Mask
    train50: Mask
    train90: Mask


def build_uniref(options: UniRefOptions, bar: Bar = silent) -> Description:
    """Build the store and give its description.

    Raises
    ------
    FastaError, DataError
        If an input cannot be used, or there is something at ``out`` already.
    RunError
        If ``mmseqs`` is asked for and missing, or fails.
    """
    search, mmseqs = _method(options.search)
    inputs = [options.uniref50, options.uniref90, options.members]
    settings = {**asdict(options), "search": search, "mmseqs": mmseqs}
    settings["similarity"].pop("threads")  # changes nothing in the result
    with Workplace(options.out, inputs, settings) as work:
        reps = Encoded.make(options.uniref50, ESM2, work.path("uniref50"), bar)
        pool = Encoded.make(options.uniref90, ESM2, work.path("uniref90"), bar)
        joined, told = work.step("members", lambda: _join(options.members, reps, pool, bar))
        sets = _split(options, reps, joined["cluster_of"])
        found, searched = work.step(
            "neighbours", lambda: _search(options, search, work, reps, pool, sets, bar)
        )
        parts, counts = _choose(reps, pool, sets, joined["repeated"], **found)
        described = {
            "kind": "uniref",
            "release": options.release,
            "seed": options.seed,
            "sources": [
                {"role": "UniRef50", **reps.facts["source"]},
                {"role": "UniRef90", **pool.facts["source"]},
                {"role": "membership", **told.pop("source")},
            ],
            "neighbours": {"search": search.value, "mmseqs": mmseqs, **searched},
            "counts": {**counts, "membership": told},
        }
        return write_store(work, parts, ESM2, described, bar)


def _method(asked: Search) -> tuple[Search, str | None]:
    """What to search, and with which MMseqs2."""
    if asked is Search.NONE:
        return asked, None
    version = mmseqs_version()
    if version is None and asked is not Search.AUTO:
        raise RunError("mmseqs is not installed; install MMseqs2, or give --search none")
    if asked is Search.AUTO:
        asked = Search.MEMBERS if version else Search.NONE
    return asked, version


def _join(members: Path, reps: Encoded, pool: Encoded, bar: Bar) -> Result:
    """Find each UniRef90 record's cluster: the first that a row puts it in."""
    clusters, records = NameIndex(reps.numbers), NameIndex(pool.numbers)
    cluster_of = np.full(len(pool), -1, dtype=np.int64)
    told = dict.fromkeys(("rows", "unknown_member", "unknown_cluster", "second_cluster"), 0)
    found = recognise(Source(members, lambda _: None))
    with bar(f"reading {members.name}", members.stat().st_size, "B") as advance:
        source = Source(members, advance)
        for cluster_numbers, member_numbers in read_pairs(source, found):
            cluster, record = clusters.find(cluster_numbers), records.find(member_numbers)
            told["rows"] += len(record)
            told["unknown_member"] += int((record < 0).sum())
            told["unknown_cluster"] += int(((record >= 0) & (cluster < 0)).sum())
            known = (record >= 0) & (cluster >= 0)
            cluster, record = cluster[known], record[known]
            free = cluster_of[record] < 0
            # Of rows that say different, the first counts: what is assigned last stays.
            cluster_of[record[free][::-1]] = cluster[free][::-1]
            told["second_cluster"] += int((cluster_of[record] != cluster).sum())
    if (cluster_of < 0).all():
        raise DataError(
            f"{members} ({found.shape.value}) names no member of {len(pool):,} UniRef90 sequences "
            f"with a cluster of {len(reps):,} UniRef50 sequences; are they of one release?"
        )
    facts = {"source": source.facts(), "shape": found.shape.value, **told}
    return {"cluster_of": cluster_of, "repeated": records.repeats(pool.numbers)}, facts


def _split(options: UniRefOptions, reps: Encoded, cluster_of: NDArray[np.int64]) -> _Sets:
    unique = ~NameIndex(reps.numbers).repeats(reps.numbers)
    (validation,) = set_aside(unique, [options.validation], options.seed)
    train = unique & ~validation
    return _Sets(cluster_of, unique, validation, train, (cluster_of >= 0) & train[cluster_of])


def _search(
    options: UniRefOptions, search: Search, work: Workplace, reps: Encoded, pool: Encoded,
    sets: _Sets, bar: Bar,
) -> Result:  # fmt: skip
    """Masks of the UniRef50 and UniRef90 records that are neighbours of a validation sequence."""
    found = np.zeros(len(reps) + len(pool), dtype=bool)
    told: dict[str, Any] = {}
    if search is not Search.NONE:
        asked = np.concatenate([sets.train50, sets.train90 & (search is Search.MEMBERS)])
        held, scratch = fasta_lines(reps, sets.validation50, ESM2), work.empty("mmseqs")

        def fasta(mask: Mask) -> chain[bytes]:
            of50, of90 = np.split(mask, [len(reps)])
            return chain(fasta_lines(reps, of50, ESM2), fasta_lines(pool, of90, ESM2, len(reps)))

        with bar(f"searching {asked.sum():,} sequences with mmseqs", None, ""):
            found, rounds = neighbours(fasta, held, asked, options.similarity, scratch)
        shutil.rmtree(scratch)
        told = {**asdict(options.similarity), "rounds": rounds}
        told.pop("threads")
    of50, of90 = np.split(found, [len(reps)])
    return {"neighbour50": of50, "neighbour90": of90}, told


def _choose(
    reps: Encoded, pool: Encoded, sets: _Sets, repeated: Mask, neighbour50: Mask, neighbour90: Mask
) -> tuple[list[Part], dict[str, Any]]:
    """Give the sets of the store, and what became of every record."""
    cluster_of, kept50 = sets.cluster_of, sets.train50 & ~neighbour50
    kept90 = sets.train90 & kept50[cluster_of] & ~neighbour90
    members = np.bincount(cluster_of + 1, minlength=len(reps) + 1)[1:]
    # A cluster of which no member was given is sampled by its representative.
    alone = kept50 & (members == 0)
    filled = alone.copy()
    filled[cluster_of[kept90]] = True
    clusters = np.concatenate([cluster_of[kept90], np.flatnonzero(alone)])
    in_validation = (cluster_of >= 0) & sets.validation50[cluster_of]
    counts = {
        "uniref50": {
            **reps.counts,
            "repeated_names": ~sets.unique50,
            "validation": sets.validation50,
            "removed_as_neighbour": sets.train50 & neighbour50,
            "removed_with_all_members": kept50 & ~filled,
            "train": filled,
            "train_by_representative_alone": alone,
        },
        "uniref90": {
            **pool.counts,
            "repeated_names": repeated,
            "without_cluster": (cluster_of < 0) & ~repeated,
            "of_validation_clusters": in_validation,
            "of_removed_clusters": sets.train90 & ~kept50[cluster_of],
            "removed_as_neighbour": sets.train90 & kept50[cluster_of] & neighbour90,
            "train": kept90,
        },
    }
    told = {k: {name: int(np.sum(v)) for name, v in kind.items()} for k, kind in counts.items()}
    if not kept90.any() and not alone.any():
        raise DataError(
            "every training sequence is a neighbour of a validation one; nothing is left"
        )
    train = Part(TRAIN, [(pool, kept90), (reps, alone)], clusters)
    return [train, Part(VALIDATION, [(reps, sets.validation50)])], told
