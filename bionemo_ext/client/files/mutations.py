"""Write mutation effects: whole scans, and scores of chosen variants."""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from bionemo_ext.client.files.npz import NpzFile
from bionemo_ext.client.files.tables import decimals, table_file
from bionemo_ext.client.results import Result
from bionemo_ext.contract import AMINO_ACIDS, SCAN, SCORE
from bionemo_ext.whole import whole

SCAN_SUFFIXES = (".npz", ".csv", ".parquet")
SCORE_SUFFIXES = (".csv", ".json", ".parquet")


def write_scans(path: Path, results: Collection[Result], method: str, offset: int = 0) -> None:
    """Write scans in the format of the suffix; ``docs/client.md`` has the layout.

    Parameters
    ----------
    path : Path
        The file; it is replaced.
    results : collection of Result
        With the output ``scan``, [L, 20].
    method : str
        How they were computed.
    offset : int
        Position of the first residue, less one.

    Raises
    ------
    RunError, InputError
        If it cannot be written.
    """
    with whole(path) as partial:
        if path.suffix.lower() == ".npz":
            _write_npz(partial, results, method, offset)
            return
        types = {"name": str, "position": int, "residue": str, **dict.fromkeys(AMINO_ACIDS, float)}
        with table_file(partial, types, {"method": method}) as write:
            for result in results:
                columns = decimals(result.values[SCAN].T)
                first = 1 + offset
                write(
                    {
                        "name": [result.name] * len(result.sequence),
                        "position": range(first, first + len(result.sequence)),
                        "residue": result.sequence,
                        **dict(zip(AMINO_ACIDS, columns, strict=True)),
                    }
                )


def write_best(path: Path, results: Iterable[Result], count: int, offset: int = 0) -> None:
    """Write the best single substitutions of each scan, the best first.

    Parameters
    ----------
    path : Path
        A CSV file with ``name``, ``mutant`` and ``score``; it is replaced.
    results : iterable of Result
        With the output ``scan``, [L, 20].
    count : int
        How many of each.
    offset : int
        Position of the first residue, less one.

    Raises
    ------
    RunError, InputError
        If it cannot be written.
    """
    types = {"name": str, "mutant": str, "score": float}
    with whole(path) as partial, table_file(partial, types) as write:
        for result in results:
            wild, scan = np.array(list(result.sequence)), result.values[SCAN]
            others = np.where(wild[:, None] == np.array(list(AMINO_ACIDS)), -np.inf, scan)
            order = np.argsort(-others, axis=None, kind="stable")[:count]
            places = [divmod(int(one), len(AMINO_ACIDS)) for one in order]
            names = [f"{wild[i]}{1 + offset + i}{AMINO_ACIDS[column]}" for i, column in places]
            scores = decimals(others.ravel()[order])
            write({"name": [result.name] * len(names), "mutant": names, "score": scores})


def _write_npz(path: Path, results: Collection[Result], method: str, offset: int) -> None:
    names, sequences = [], []
    for result in results:
        names.append(result.name)
        sequences.append(result.sequence)
    offsets = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
    with NpzFile(path) as file:
        file.add("method", np.array(method))
        file.add("offset", np.array(offset))
        file.add("amino_acids", np.array(list(AMINO_ACIDS)))
        file.add("names", np.array(names))
        file.add("sequences", np.array(sequences))
        file.add("offsets", offsets)
        shape = (int(offsets[-1]), len(AMINO_ACIDS))
        file.stream("scan", shape, np.float32, (result.values[SCAN] for result in results))


def write_scores(
    path: Path, results: Iterable[Result], variants: Iterable[Sequence[str]], method: str
) -> None:
    """Write a score a variant in the format of the suffix.

    Parameters
    ----------
    path : Path
        The file; it is replaced.
    results : iterable of Result
        With the output ``score``, one number a variant.
    variants : iterable of sequence of str
        Those of each result, such as ``A24G:L30P``.
    method : str
        How they were computed.

    Raises
    ------
    RunError, InputError
        If it cannot be written.
    """
    rows = (
        {
            "name": [result.name] * len(names),
            "mutant": names,
            "score": decimals(result.values[SCORE][: len(names)]),
        }
        for result, names in zip(results, variants, strict=True)
    )
    with whole(path) as partial:
        if path.suffix.lower() == ".json":
            with partial.open("w") as file:
                file.write(f'{{"method": {json.dumps(method)},\n"scores": [')
                before = "\n"
                for columns in rows:
                    for values in zip(*columns.values(), strict=True):
                        file.write(before + json.dumps(dict(zip(columns, values, strict=True))))
                        before = ",\n"
                file.write("\n]}\n")
            return
        types = {"name": str, "mutant": str, "score": float}
        with table_file(partial, types, {"method": method}) as write:
            for columns in rows:
                write(columns)
