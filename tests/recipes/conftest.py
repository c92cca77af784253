"""Runs that several tests look at, each made once."""

import pytest
from running import ONE, PIPELINE, TENSOR, TWO, pretrain

from bionemo_ext.resources import data_path
from bionemo_ext.sequences import read_fasta


@pytest.fixture(scope="session")
def proteins(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "proteins.fasta"
    records = list(read_fasta(data_path("uniprot.fasta.gz")))[:120]
    path.write_text("".join(f">{r.name}\n{r.sequence}\n" for r in records))
    return path


def _run(layout):
    @pytest.fixture(scope="session")
    def made(tmp_path_factory, proteins):
        run = tmp_path_factory.mktemp("run") / "run"
        pretrain(run, proteins, *layout, "keep_checkpoints=4")
        return run

    return made


one_rank = _run(ONE)
tensor_parallel = _run(TENSOR)
pipeline_parallel = _run(PIPELINE)
data_parallel = _run(TWO)


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
