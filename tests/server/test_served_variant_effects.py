"""Variant effects asked of a server are those of the encoder in this process."""

import csv
import json

import numpy as np
import pytest

from bionemo_ext.client import Client
from bionemo_ext.client.masked_model import ServerLogits
from bionemo_ext.contract.effects import Method
from bionemo_ext.contract.variants import parse_variants
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.masked_model import EncoderLogits
from bionemo_ext.tasks.variant_effects import scan, score_variants

pytestmark = pytest.mark.server

WILD = "MKTVRQGACDEFGHIKLMNPQRSTVWY"
LONG = "".join(WILD[(3 * i + i // 7) % len(WILD)] for i in range(1300))


@pytest.fixture(scope="module")
def served(server):
    with Client(server.url) as client:
        yield ServerLogits(client)


@pytest.fixture(scope="module")
def local(exported):
    return EncoderLogits(Encoder.load(exported.huggingface))


def variants(wild):
    last = len(wild)
    texts = (f"{wild[0]}1W", f"{wild[4]}5G:{wild[8]}9P", f"{wild[-1]}{last}A")
    return parse_variants(",".join(texts), wild, "wild type")


@pytest.mark.parametrize("method", list(Method))
def test_scores(served, local, method):
    wanted = [*variants(WILD), WILD[:3] + WILD[5:]][: None if method is Method.PLL else 3]
    found = score_variants(served, WILD, wanted, method)
    np.testing.assert_allclose(
        found, score_variants(local, WILD, wanted, method), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("method", [Method.MASKED, Method.WILDTYPE, Method.MUTANT])
def test_windows(served, local, method):
    wanted = variants(LONG)
    found = score_variants(served, LONG, wanted, method)
    np.testing.assert_allclose(
        found, score_variants(local, LONG, wanted, method), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("method", [Method.MASKED, Method.PLL])
def test_a_scan_by_the_command(command, server, local, tmp_path, method):
    """With a deletion, which masked marginals leave out."""
    texts = ["K2W", "T3A:R5G", "M1L"]
    rows = ["mutant,sequence,target", *(f"{text},,{i}" for i, text in enumerate(texts))]
    (tmp_path / "x.csv").write_text("\n".join([*rows, f",{WILD[:5]}{WILD[6:]},9\n"]))
    (tmp_path / "wild.fasta").write_text(f">wild\n{WILD}\n")
    done = command(
        "score", tmp_path / "x.csv", "--url", server.url, "--wildtype", tmp_path / "wild.fasta",
        "--method", method.value, "--dms", "--json", "--out", tmp_path / "out.csv",
    )  # fmt: skip
    assert done.returncode == 0
    left_out = {"insertions or deletions": 1} if method is Method.MASKED else {}
    assert json.loads(done.stdout)["reasons"] == left_out
    wanted = [*parse_variants(",".join(texts), WILD, "x"), WILD[:5] + WILD[6:]]
    expected = score_variants(local, WILD, wanted[: 3 if left_out else 4], method)
    with (tmp_path / "out.csv").open() as file:
        found = [float(row["score"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_scans(served, local):
    found = scan(served, WILD, Method.MASKED)
    np.testing.assert_allclose(found, scan(local, WILD, Method.MASKED), rtol=0, atol=1e-4)
