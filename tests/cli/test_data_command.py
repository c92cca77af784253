"""``bionemo-ext data`` as a user calls it."""

import json

import pytest

from bionemo_ext.data.uniref.esm1nv import ESM1nvOptions, build_esm1nv
from bionemo_ext.errors import DataError
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.preflight import check
from bionemo_ext.recipes.settings import PretrainSettings


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    proteins = {f"{i}": "MKTAYIAKQR" * 2 + "ACDEFGHIKL"[: i % 7] for i in range(40)}
    for level in (50, 90):
        text = "".join(f">UniRef{level}_{n}\n{s}\n" for n, s in proteins.items())
        (folder / f"u{level}.fasta").write_text(text)
    (folder / "members.tsv").write_text("".join(f"UniRef50_{n}\tUniRef90_{n}\n" for n in proteins))
    return folder


def words(files, out, *more):
    inputs = ("--uniref50", files / "u50.fasta", "--uniref90", files / "u90.fasta")
    return ("data", "uniref", *inputs, "--members", files / "members.tsv", "--out", out, *more)


def test_build_and_stats(command, refusal, files, tmp_path):
    out = tmp_path / "store"
    done = command(*words(files, out, "--search", "none", "--validation", "4", "--release", "r1"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "train: 36 clusters, 36 sequences" in done.stdout
    assert "uniref90: records 40" in done.stdout
    assert "of validation clusters 4" in done.stdout
    assert "neighbours: not searched; training and validation are apart by the given" in done.stdout
    assert json.loads((out / "store.json").read_text())["release"] == "r1"

    plot = tmp_path / "x.png"
    done = command("data", "stats", out, "--json", "--crop", "10", "--plot", plot)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["sets"]["train"]["tokens_per_epoch"] == 36 * 12
    assert told["sets"]["validation"]["sequences"] == 4
    assert plot.read_bytes().startswith(b"\x89PNG")
    done = command("data", "stats", files / "u90.fasta")
    assert "all: 40 sequences" in done.stdout
    again = words(files, out, "--search", "none")
    assert refusal(*again) == (2, f"{out} is there already; remove it or choose another --out")


def test_a_run_is_refused_a_store_of_another_alphabet(tmp_path, files):
    store = tmp_path / "store"
    build_esm1nv(ESM1nvOptions(files / "u50.fasta", store))
    words = ["recipe=demo", f"data.train={store}", f"out={tmp_path}"]
    sentence = r"holds token ids of ESM-1nv, but the model reads those of ESM-2"
    with pytest.raises(DataError, match=sentence):
        check(compose("pretrain", words, PretrainSettings))


def test_the_esm1nv_set(command, files, tmp_path):
    out = tmp_path / "store"
    done = command("data", "esm1nv", "--uniref50", files / "u50.fasta", "--out", out, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert {name: part["sequences"] for name, part in told["sets"].items()} == {
        "train": 38, "validation": 1, "test": 1,
    }  # fmt: skip
    assert told["alphabet"]["name"] == "ESM-1nv"


def test_mistakes_are_one_sentence(refusal, files, tmp_path):
    out = tmp_path / "store"
    share = "1.5 is neither a fraction between 0 and 1 nor a number"
    assert refusal(*words(files, out, "--validation", "1.5")) == (2, share)
    missing = ("--members", tmp_path / "none.tsv")
    assert refusal(*words(files, out, *missing)) == (2, f"there is no file {tmp_path / 'none.tsv'}")
    assert refusal("data", "stats", tmp_path / "x") == (2, f"there is no file {tmp_path / 'x'}")
    assert list(tmp_path.iterdir()) == []
