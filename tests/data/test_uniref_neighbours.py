"""On real proteins and with the real MMseqs2: nothing in training is like a validation protein."""

import shutil
import subprocess

import numpy as np
import pytest
from megatron.core.datasets.indexed_dataset import IndexedDataset

from bionemo_ext.data.uniref.build import Search, UniRefOptions, build_uniref
from bionemo_ext.data.uniref.split import Share
from bionemo_ext.errors import RunError
from bionemo_ext.sequences import ESM2, read_fasta

pytestmark = pytest.mark.skipif(shutil.which("mmseqs") is None, reason="mmseqs is not installed")


def mmseqs(*words):
    subprocess.run(["mmseqs", *map(str, words), "-v", "1"], check=True, capture_output=True)


def cluster(folder, fasta):
    """Make UniRef90 and UniRef50 of proteins as UniRef is made; the second's table of members."""
    seen = fasta
    for level in (90, 50):
        # One thread: several break ties by who comes first.
        options = ("--min-seq-id", level / 100, "-c", 0.8, "--cov-mode", 1, "--threads", 1)
        mmseqs("easy-linclust", seen, folder / f"c{level}", folder / "tmp", *options)
        seen = folder / f"c{level}_rep_seq.fasta"
    return folder / "c50_rep_seq.fasta", folder / "c90_rep_seq.fasta", folder / "c50_cluster.tsv"


QUERIES = [("validation", "train"), ("train", "validation")]


def hits(store, tmp, directions=QUERIES):
    """Pairs of validation and training sequences that a search of our own finds in a store."""
    paths = {}
    for part in ("validation", "train"):
        indexed = IndexedDataset(str(store / part))
        text = "".join(f">{i}\n{ESM2.decode(indexed[i])}\n" for i in range(len(indexed)))
        paths[part] = tmp / f"{part}.fasta"
        paths[part].write_text(text)
    found = 0
    for query, target in directions:
        out = tmp / "hits.tsv"
        mmseqs("easy-search", paths[query], paths[target], out, tmp / "tmp",
               "--min-seq-id", 0.5, "--alignment-mode", 3, "-s", 7.5)  # fmt: skip
        found += len(out.read_text().splitlines())
    return found


@pytest.fixture(scope="module")
def families(shared_data, tmp_path_factory):
    """500 short proteins, which are quick to search."""
    folder = tmp_path_factory.mktemp("families")
    records = list(read_fasta(shared_data / "uniprot" / "uniprot_20k.fasta.gz"))
    chosen = [r for r in records if 60 < len(r.sequence) < 160][:500]
    (folder / "x.fasta").write_text("".join(f">{r.name}\n{r.sequence}\n" for r in chosen))
    return cluster(folder, folder / "x.fasta")


@pytest.fixture(scope="module")
def every_protein_a_cluster(families, tmp_path_factory):
    """The same where UniRef50 is no coarser than UniRef90: many clusters are alike."""
    table = tmp_path_factory.mktemp("table") / "members.tsv"
    _, u90, _ = families
    table.write_text("".join(f"{r.name}\t{r.name}\n" for r in read_fasta(u90)))
    return u90, u90, table


def build(files, out, search):
    return build_uniref(UniRefOptions(*files, out, Share(0.1), seed=1, search=Search(search)))


def test_no_neighbour_is_left(every_protein_a_cluster, tmp_path):
    unsearched = build(every_protein_a_cluster, tmp_path / "unsearched", "none")
    assert hits(tmp_path / "unsearched", tmp_path, QUERIES[:1]) > 10
    described = build(every_protein_a_cluster, tmp_path / "searched", "members")
    assert hits(tmp_path / "searched", tmp_path) == 0
    # Here each representative is its cluster's only member.
    removed = described["counts"]["uniref50"]["removed_as_neighbour"]
    assert removed > 0
    before = unsearched["sets"]["train"]["sequences"]
    assert described["sets"]["train"]["sequences"] == before - removed
    assert described["counts"]["uniref90"]["of_removed_clusters"] == removed
    names = "validation_names.txt"
    left, right = ((tmp_path / n / names).read_bytes() for n in ("searched", "unsearched"))
    assert left == right


@pytest.mark.slow
def test_representatives_alone_are_searched(every_protein_a_cluster, tmp_path):
    every = build(every_protein_a_cluster, tmp_path / "members", "members")
    card = build(every_protein_a_cluster, tmp_path / "representatives", "representatives")
    assert card["sets"] == every["sets"]
    assert card["counts"]["uniref90"]["removed_as_neighbour"] == 0


def test_mmseqs_that_fails_or_is_missing(families, tmp_path, monkeypatch):
    broken = tmp_path / "bin" / "mmseqs"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\n[ $1 = version ] && echo 1 && exit\necho no space left; exit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:/bin")
    with pytest.raises(RunError, match=r"^mmseqs ended with code 3: no space left$"):
        build(families, tmp_path / "out", "members")
    assert not (tmp_path / "out").exists()
    broken.unlink()
    monkeypatch.setenv("PATH", str(broken.parent))
    with pytest.raises(RunError, match=r"^mmseqs is not installed; .* give --search none$"):
        build(families, tmp_path / "out", "members")
    described = build(families, tmp_path / "out", "auto")
    assert described["neighbours"] == {"search": "none", "mmseqs": None}


@pytest.mark.slow
def test_twenty_thousand_proteins(shared_data, tmp_path):
    files = cluster(tmp_path, shared_data / "uniprot" / "uniprot_20k.fasta.gz")
    described = build(files, tmp_path / "store", "members")
    assert hits(tmp_path / "store", tmp_path) == 0
    assert described["sets"]["train"]["clusters"] > 5000
    assert np.isclose(described["sets"]["validation"]["clusters"], 0.1 * len_of(files[0]), atol=1)


def len_of(fasta):
    return sum(1 for _ in read_fasta(fasta))
