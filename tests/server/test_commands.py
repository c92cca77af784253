"""``embed`` and ``predict`` as a user runs them, good input and bad."""

import gzip
import json
import os
import pty
import re
import socket
import subprocess
import sys
from contextlib import suppress

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import tritonclient.grpc as triton

from bionemo_ext.sequences import LengthPolicy, SequencePolicy

pytestmark = pytest.mark.server

PROTEINS = {"sp|P1|ONE": "MKTVRQGLLL", "sp|P2|TWO": "ACDEFGHIKLMNPQRSTVWY" * 3, "x": "M"}
LONG = "".join(np.random.default_rng(0).choice(list("ACDEFGHIKLMNPQRSTVWY"), 20_000))


def fasta(proteins) -> str:
    return "".join(f">{name} described\n{sequence}\n" for name, sequence in proteins.items())


@pytest.fixture
def sequences_asked(client, server):
    """Count the sequences that the encoder's endpoint has answered, by the server's statistics."""

    def count():
        with triton.InferenceServerClient(server.url.removeprefix("grpc://")) as connection:
            stats = connection.get_inference_statistics(client.host).model_stats[0]
            return stats.inference_count

    return count


@pytest.fixture
def proteins(tmp_path):
    path = tmp_path / "proteins.fasta.gz"
    path.write_bytes(gzip.compress(fasta(PROTEINS).encode()))
    return path


def test_embed_writes_what_the_client_gets(command, client, server, proteins, tmp_path):
    out = tmp_path / "x.npz"
    done = command("embed", proteins, "--url", server.url, "--out", out, "--residues", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    assert summary["records"] == 3
    assert summary["residues"] == sum(map(len, PROTEINS.values()))
    data = np.load(out)
    assert data["names"].tolist() == list(PROTEINS)
    sequences = list(PROTEINS.values())
    # Packed with other neighbours, sums may round differently.
    np.testing.assert_allclose(data["embeddings"], client.embed(sequences), rtol=0, atol=1e-5)
    rows = np.concatenate(client.embed(sequences, "residues"))
    np.testing.assert_allclose(data["residues"], rows, rtol=0, atol=1e-5)
    assert data["offsets"].tolist() == [0, 10, 70, 71]


def test_embed_reads_standard_input(command, client, server, tmp_path):
    out = tmp_path / "x.parquet"
    done = command(
        "embed", "-", "--url", server.url, "--out", out, "--pooling", "cls", "--layer", 1,
        stdin=fasta(PROTEINS),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 records, 71 residues" in done.stdout
    table = pq.read_table(out).to_pydict()
    expected = client.embed(list(PROTEINS.values()), "cls", layer=1)
    np.testing.assert_allclose(table["embedding"], expected, rtol=0, atol=1e-5)


def test_predict_writes_labels_and_probabilities(command, client, server, proteins, tmp_path):
    out = tmp_path / "fold.json"
    done = command("predict", proteins, "--url", server.url, "--task", "fold", "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    written = json.loads(out.read_text())
    assert written["task"]["classes"] == ["C", "E", "H"]
    expected = client.predict(list(PROTEINS.values()), "fold")
    for name, entry, prediction in zip(PROTEINS, written["predictions"], expected, strict=True):
        assert entry["name"] == name
        assert entry["labels"] == prediction.labels
        np.testing.assert_allclose(entry["probabilities"], prediction.values, rtol=0, atol=1e-5)


def test_a_protein_of_20000_residues(command, refusal, client, server, tmp_path):
    path, out = tmp_path / "titin.fasta", tmp_path / "x.npz"
    path.write_text(fasta({"titin": LONG, "short": "MKT"}))
    words = ("embed", path, "--url", server.url, "--out", out)

    done = command(*words)
    assert done.returncode == 0
    assert done.stderr == (
        "bionemo-ext: warning: 1 of 2 records were longer than 1,022 residues and only their "
        "beginning was used (--long windows uses all, --long refuse stops)\n"
    )
    data = np.load(out)
    assert data["lengths"].tolist() == [20_000, 3]
    assert data["embedded"].tolist() == [1022, 3]

    done = command(*words, "--long", "windows")
    assert (done.returncode, done.stderr) == (0, "")
    data = np.load(out)
    assert data["embedded"].tolist() == [20_000, 3]
    assert data["windows"].tolist()[0] > 19
    policy = SequencePolicy(long=LengthPolicy.WINDOWS)
    expected = client.embed([LONG, "MKT"], policy=policy)
    np.testing.assert_allclose(data["embeddings"], expected, rtol=0, atol=1e-5)

    out.unlink()
    code, sentence = refusal(*words, "--long", "refuse")
    assert (code, sentence) == (2, "record 'titin' has 20,000 residues, the limit is 1,022")
    assert not out.exists()


BAD = {
    "empty": ("", "has no records"),
    "duplicate": (">a\nMKT\n>b\nMKV\n>a\nMKT\n", "'a'"),
    "nucleotides": (">gene\n" + "ACGTTGCA" * 10 + "\n", "record 'gene' looks like nucleotides"),
    "letter": (">ok\nMKT\n>bad\nMK1T\n", "record 'bad' has '1' at position 3"),
    "no_residues": (">ok\nMKT\n>hollow\n\n", "record 'hollow' has no residues"),
    "not_fasta": ("MKTVRQG\n", "is not a FASTA file"),
    "missing": (None, "there is no file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_sentence(refusal, server, tmp_path, case):
    text, reason = BAD[case]
    path, out = tmp_path / f"{case}.fasta", tmp_path / "x.h5"
    if text is not None:
        path.write_text(text)
    code, sentence = refusal("embed", path, "--url", server.url, "--out", out)
    assert code == 2
    assert reason in sentence
    assert not list(tmp_path.glob("*x.h5*"))


@pytest.mark.parametrize("skipped", [False, True])
def test_a_bad_record_late_in_a_stream_keeps_what_came_before(
    command, refusal, server, tmp_path, sequences_asked, skipped
):
    proteins = {f"p{i}": "MKTV" * 50 for i in range(700)}
    out = tmp_path / "x.h5"
    words = ("embed", "-", "--url", server.url, "--out", out)
    code, sentence = refusal(*words, stdin=fasta(proteins) + ">bad\nMK1T\n")
    assert code == 2
    assert "record 'bad' has '1' at position 3" in sentence
    assert sentence.endswith(
        "records are kept, the same command, given the same input, goes on from there, once that "
        "is mended"
    )
    kept = int(sentence.split("; ")[1].split()[0])
    assert 0 < kept < 700
    assert not out.exists()

    before = sequences_asked()
    mended, words = (">bad\nMK1T\n", (*words, "--skip-bad")) if skipped else (">good\nMKT\n", words)
    done = command(*words, "--json", stdin=fasta(proteins) + mended)
    assert done.returncode == 0
    assert json.loads(done.stdout)["resumed"] == kept
    names = [*proteins] if skipped else [*proteins, "good"]
    assert sequences_asked() - before == len(names) - kept
    with h5py.File(out) as file:
        assert file["names"].asstr()[:].tolist() == names
    assert {path.name for path in tmp_path.iterdir()} == (
        {"x.h5", "x.skipped.tsv"} if skipped else {"x.h5"}
    )


def test_bad_records_are_left_out_when_asked(command, refusal, client, server, tmp_path):
    path, out = tmp_path / "x.fasta", tmp_path / "x.npz"
    path.write_text(">a\nMKT\n>bad\nMK1T\n>a\nMKV\n>hollow\n\n>b\nMKTV\n")
    words = ("embed", path, "--url", server.url, "--out", out)
    done = command(*words, "--skip-bad", "--json")
    assert done.returncode == 0
    assert done.stderr == (
        "bionemo-ext: warning: 3 were left out; the .skipped.tsv file names them\n"
    )
    summary = json.loads(done.stdout)
    assert (summary["records"], summary["skipped"]) == (2, 3)
    data = np.load(out)
    assert data["names"].tolist() == ["a", "b"]
    np.testing.assert_allclose(data["embeddings"], client.embed(["MKT", "MKTV"]), rtol=0, atol=1e-5)
    header, *rows = (tmp_path / "x.skipped.tsv").read_text().splitlines()
    assert header == "name\treason"
    assert [row.split("\t")[0] for row in rows] == ["bad", "a", "hollow"]
    assert "'1' at position 3" in rows[0]
    assert "stands twice" in rows[1]

    path.write_text(">bad\nMK1T\n")
    code, sentence = refusal(*words, "--skip-bad")
    assert code == 2
    assert sentence.startswith("none of 1 records can be used; the first, 'bad': record 'bad' has")


def test_unknown_letters_become_x_when_asked(command, client, server, tmp_path):
    out = tmp_path / "x.npz"
    words = ("embed", "-", "--url", server.url, "--out", out, "--unknown-to-x")
    assert command(*words, stdin=">a\nMK1T\n").returncode == 0
    expected = client.embed(["MKXT"])
    np.testing.assert_allclose(np.load(out)["embeddings"], expected, rtol=0, atol=1e-5)


def test_an_unknown_task_tells_which_there_are(refusal, server, proteins, tmp_path):
    words = ("--url", server.url, "--task", "scl", "--out", tmp_path / "x.csv")
    assert refusal("predict", proteins, *words) == (
        2,
        "the server has no task 'scl'; its tasks are: adapted, fold, place, sites, trained",
    )


def test_a_format_that_is_not_known(refusal, server, proteins, tmp_path):
    code, sentence = refusal("embed", proteins, "--url", server.url, "--out", tmp_path / "x.xls")
    assert code == 2
    assert "ends in none of .npz, .h5, .parquet, .tsv" in sentence


def test_wrong_addresses_are_one_sentence(refusal, server, proteins, tmp_path):
    out = ("--out", tmp_path / "x.npz")
    code, sentence = refusal("embed", proteins, "--url", "ftp://127.0.0.1:8000", *out)
    assert code == 2
    assert "looks like grpc://127.0.0.1:8001" in sentence

    http = f"grpc://127.0.0.1:{server.ports['http']}"
    code, sentence = refusal("embed", proteins, "--url", http, *out)
    assert code == 1
    assert sentence.startswith(f"no answer from {http}")

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        nobody = f"grpc://127.0.0.1:{silent.getsockname()[1]}"
        code, sentence = refusal("embed", proteins, "--url", nobody, *out)
    assert code == 1
    assert sentence.startswith(f"no answer from {nobody}")


def test_a_terminal_shows_rate_and_time_left(server, proteins, tmp_path):
    main, terminal = pty.openpty()
    words = ("embed", proteins, "--url", server.url, "--out", tmp_path / "x.npz")
    with subprocess.Popen(
        [sys.executable, "-m", "bionemo_ext", *map(str, words)],
        stdout=subprocess.DEVNULL, stderr=terminal,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "100"},
    ) as process:  # fmt: skip
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # how the terminal says that nobody writes to it any more
            while part := os.read(main, 4096):
                shown += part
    os.close(main)
    assert process.returncode == 0
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "\n").splitlines()
    bars = {line.split()[0]: line for line in lines if line.strip()}
    assert re.fullmatch(r"reading proteins.fasta.gz \S+ [\d,]+ records/s .*", bars["reading"])
    assert re.fullmatch(r"embedding \S+ [\d,]+ residues/s 0:00:00", bars["embedding"])
    assert re.fullmatch(r"writing x.npz \S+ [\d,]+ records/s 0:00:00", bars["writing"])
