"""FLIP's archives from its public repository: whole or not there, and the same as before.

An archive is written to a hidden partial file, which a later call goes on with, and is renamed when
its SHA-256 is the right one: one of those below, or for the other tasks the one that the first
download wrote to ``checksums.json`` beside the archives.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import requests

from bionemo_ext.data.progress import Advance, Bar, silent
from bionemo_ext.errors import DataError, RunError
from bionemo_ext.tasks.catalogue import FlipTask
from bionemo_ext.whole import whole

BASE_URL = "https://github.com/J-SNACKKB/FLIP/raw/main/splits"
CHECKSUMS = "checksums.json"
_ARCHIVE = "splits.zip"
# secondary_structure: the archive of today, and the release of 2022 as users may have it.
_PINNED = {
    "secondary_structure": (
        "2e9bbbfd18a055bcac7edd4e059a6bf4bb35ca3ad8f8fa4fc3106422652a4726",
        "753937398e9d2d85e38e9f01beda7a45e16880a066ed89b76657a7b45676366b",
    ),
    "conservation": ("9b364ba2a378a7abd9b8cf992d38c61b33dff17854fe37997760c8972ce921c5",),
    "bind": ("f742c8b3e4521d7e771ca03096484451287026fe433b34463cbfcf767e0a7417",),
    "gb1": ("00a3c3d5be56ce35adfbec838db8ff549be369525e151a6978133da34b9fd86f",),
}
# What is lost at most where a connection breaks off.
_CHUNK = 1 << 16
_TIMEOUT_S = 30
_TRIES = 3


@dataclass(frozen=True)
class Archive:
    """An archive that is there.

    Parameters
    ----------
    task : str
        FLIP's name.
    path : Path
        Where it is.
    sha256 : str
        Of its bytes.
    new : bool
        Whether this call downloaded it.
    """

    task: str
    path: Path
    sha256: str
    new: bool


def download(task: FlipTask, root: Path, *, base_url: str = BASE_URL, bar: Bar = silent) -> Archive:
    """Get a task's archive, or check the one that is there.

    Parameters
    ----------
    task : FlipTask
        Which.
    root : Path
        Gets ``<task>/splits.zip``.
    base_url : str
        Holds ``<task>/splits.zip`` too.
    bar : Bar
        Shows bytes.

    Raises
    ------
    DataError
        If the checksum is another, or what came is no archive; what was there stays.
    RunError
        If the server cannot be reached, does not have it or breaks off.
    """
    path = root / task.name / _ARCHIVE
    wanted = _PINNED.get(task.name) or _recorded(root, task.name)
    new = not path.exists()
    if new:
        partial = path.with_name(f".{_ARCHIVE}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        url = f"{base_url.rstrip('/')}/{task.name}/{_ARCHIVE}"
        _fetch(url, partial, bar, task.name)
        digest = _sha256(partial)
        if wanted and digest not in wanted:
            partial.unlink()
            raise DataError(
                f"{url} has the SHA-256 {digest}, but {' or '.join(wanted)} is needed; it was not "
                f"kept (to use it all the same, put it at {path} and read it with task.data={path})"
            )
        _check_archive(partial, url)
        partial.replace(path)
    else:
        digest = _sha256(path)
        if wanted and digest not in wanted:
            raise DataError(
                f"{path} has the SHA-256 {digest}, but {' or '.join(wanted)} is needed; remove it "
                "to download it"
            )
    if not wanted:
        _record(root, task.name, digest)
    return Archive(task.name, path, digest, new)


def _fetch(url: str, partial: Path, bar: Bar, name: str) -> None:
    """Download to ``partial``, from where it ends; goes on after a broken connection."""
    for attempt in range(1, _TRIES + 1):
        done = partial.stat().st_size if partial.exists() else 0
        try:
            with _answer(url, done) as answer:
                if answer.status_code == requests.codes.requested_range_not_satisfiable:
                    return  # nothing is left to send
                if answer.status_code != requests.codes.partial_content:
                    done = 0
                length = int(answer.headers.get("Content-Length", 0))
                with bar(name, done + length if length else None, "B") as advance:
                    advance(done)
                    _write(answer, partial, "ab" if done else "wb", advance)
            return
        except requests.HTTPError as error:
            reason = f"{error.response.status_code} {error.response.reason}"
            raise RunError(f"{url} cannot be downloaded: the server answers {reason}") from None
        except requests.RequestException as error:
            if attempt == _TRIES:
                raise RunError(
                    f"{url} cannot be downloaded: {_reason(error)}; the same command goes on "
                    "where it broke off"
                ) from None


@contextmanager
def _answer(url: str, done: int) -> Iterator[requests.Response]:
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
        if answer.status_code != requests.codes.requested_range_not_satisfiable:
            answer.raise_for_status()
        yield answer


def _write(answer: requests.Response, partial: Path, mode: str, advance: Advance) -> None:
    with partial.open(mode) as file:
        for chunk in answer.iter_content(_CHUNK):
            file.write(chunk)
            advance(len(chunk))


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.Timeout):
        return f"no answer within {_TIMEOUT_S} s"
    if isinstance(error, requests.ConnectionError):
        return "the server cannot be reached"
    return " ".join(str(error).split())


def _check_archive(partial: Path, url: str) -> None:
    try:
        with ZipFile(partial) as archive:
            damaged = archive.testzip()
    except BadZipFile:
        damaged = partial.name
    if damaged is not None:
        partial.unlink()
        raise DataError(f"{url} is not a whole zip archive; it was not kept")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recorded(root: Path, name: str) -> tuple[str, ...]:
    """The checksum of the first download, if there was one."""
    digest = _checksums(root).get(name)
    return (digest,) if digest else ()


def _record(root: Path, name: str, digest: str) -> None:
    with whole(root / CHECKSUMS) as new:
        new.write_text(json.dumps({**_checksums(root), name: digest}, indent=2) + "\n")


def _checksums(root: Path) -> Mapping[str, str]:
    path = root / CHECKSUMS
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{path} is damaged; remove it to take checksums anew")
    return found
