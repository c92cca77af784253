"""Runs that several tests look at, each made once."""

import fcntl
import os
import shutil

import pytest
from running import ONE, PIPELINE, TENSOR, TWO, pretrain

from bionemo_ext.resources import data_path
from bionemo_ext.sequences import read_fasta


def _once(tmp_path_factory, name, make):
    """What the first of the test processes makes, and the others wait for and find."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path, whole = folder / name, folder / f"{name}.whole"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(path, ignore_errors=True)
            make(path)
            whole.touch()
    return path


def _write_proteins(folder):
    folder.mkdir()
    records = list(read_fasta(data_path("uniprot.fasta.gz")))[:120]
    text = "".join(f">{r.name}\n{r.sequence}\n" for r in records)
    (folder / "proteins.fasta").write_text(text)


@pytest.fixture(scope="session")
def proteins(tmp_path_factory):
    return _once(tmp_path_factory, "data", _write_proteins) / "proteins.fasta"


def _run(name, layout):
    @pytest.fixture(scope="session")
    def made(tmp_path_factory, proteins):
        return _once(
            tmp_path_factory,
            name,
            lambda run: pretrain(run, proteins, *layout, "keep_checkpoints=4"),
        )

    return made


one_rank = _run("one_rank", ONE)
tensor_parallel = _run("tensor_parallel", TENSOR)
pipeline_parallel = _run("pipeline_parallel", PIPELINE)
data_parallel = _run("data_parallel", TWO)


@pytest.fixture
def shown(command, tmp_path, monkeypatch):
    """Output of a dry run of launch in an empty folder, which must stay empty, as must the home."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)

    def run(*words):
        done = command("launch", *words, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert list(here.iterdir()) == []
        assert list(home.rglob("*nemo*")) == []
        return done.stdout

    return run
