"""Where an export is put: whole, or as it was before."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bionemo_ext.errors import InputError
from bionemo_ext.export.source import link_or_copy


@contextmanager
def replaced(out: Path, *, add: bool = False, force: bool = False) -> Iterator[Path]:
    """Give a folder to write to, which takes the place of ``out`` when the block ends well.

    Parameters
    ----------
    out : Path
        Where the export shall stand.
    add : bool
        Begin with what is at ``out``; its files become hard links where that is possible.
    force : bool
        Replace what is at ``out``.

    Raises
    ------
    InputError
        If ``out`` exists and neither is given, or is no export to add to.
    """
    old = out.with_name(f".{out.name}.old")
    if old.exists() and not out.exists():
        old.replace(out)  # a kill between the two renames below
    if add and force:
        raise InputError("--add keeps what is there and --force replaces it: give one of them")
    if add and not (out / "triton").is_dir():
        raise InputError(f"{out} is not an export to add to: there is no folder {out / 'triton'}")
    if out.exists() and not (add or force):
        raise InputError(f"{out} exists; give --force to replace it or --add to add a model to it")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    if add:
        shutil.copytree(out, partial, copy_function=_link)
    else:
        partial.mkdir(parents=True)
    try:
        yield partial
        _swap(partial, out, old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _link(source: str, target: str) -> None:
    link_or_copy(Path(source).resolve(), Path(target))


def _swap(new: Path, out: Path, old: Path) -> None:
    """Put ``new`` in the place of ``out``; what was there goes only once the new one stands."""
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.replace(old)
    new.replace(out)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)
