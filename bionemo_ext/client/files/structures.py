"""Write predicted structures: a folder of PDB files, and of how far each can be trusted."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from bionemo_ext.client.results import Result
from bionemo_ext.contract import PAE, PDB, PLDDT, PTM
from bionemo_ext.errors import InputError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 120


def check_out_folder(path: Path) -> None:
    """Refuse early a folder that could not be put there at the end.

    Raises
    ------
    InputError
        If something is there already that is not an empty folder, or the folder above is missing.
    """
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} to")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is there already; a folder that is not there yet is needed")


def write_structures(folder: Path, results: Iterable[Result]) -> None:
    """Write ``NAME.pdb`` and ``NAME.json`` for every protein.

    The JSON has ``name``, ``sequence``, ``ptm``, ``plddt`` [L] (0 to 100) and ``pae`` [L, L]
    (angstrom).

    Parameters
    ----------
    folder : Path
        Made here.
    results : iterable of Result
        With the outputs ``pdb``, ``plddt``, ``pae`` and ``ptm``.
    """
    folder.mkdir()
    names = FileNames()
    for result in results:
        stem = names.of(result.name)
        (folder / f"{stem}.pdb").write_text(str(result.values[PDB].item()))
        about = {
            "name": result.name,
            "sequence": result.sequence,
            "ptm": round(float(result.values[PTM].item()), 4),
            "plddt": result.values[PLDDT].astype(float).round(2).tolist(),
            "pae": result.values[PAE].astype(float).round(2).tolist(),
        }
        (folder / f"{stem}.json").write_text(json.dumps(about))


class FileNames:
    """Names of files for records, whose own names may have any letters; no two are alike."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, name: str) -> str:
        """Give the next record's: letters, digits, ``.``, ``_`` and ``-``."""
        stem = _UNSAFE.sub("_", name)[:_LONGEST_NAME].lstrip(".") or "_"
        found, number = stem, 2
        # Some file systems do not tell capitals from small letters.
        while found.lower() in self._taken:
            found, number = f"{stem}_{number}", number + 1
        self._taken.add(found.lower())
        return found
