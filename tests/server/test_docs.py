"""The examples of the documentation run as they stand."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

DOCS = Path(__file__).parents[2] / "docs"


def examples():
    for name in ("client.md", "serving.md"):
        for block in re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL):
            yield pytest.param(block, id=f"{name}-{len(block)}")


@pytest.mark.parametrize("code", list(examples()))
def test_an_example_runs(code, server, exported, tmp_path, monkeypatch):
    (tmp_path / "proteins.fasta").write_text(">a\nMKTVRQG\n>b\nGGA\n")
    monkeypatch.chdir(tmp_path)
    code = code.replace("grpc://127.0.0.1:8001", server.url)
    names = {}
    exec(code.replace("served/triton", str(exported.repository)), names)  # noqa: S102
    if "vectors" in names:
        assert names["vectors"].shape[1] == 64
    if "residues" in names:
        assert names["residues"].shape == (7, 64)
    if "effects_of_long" in names:
        assert names["effects_of_long"].shape == (1200, 20)
        for scores, count in ((names["scores_of_long"], 2), (names["shorter"], 1)):
            assert scores.shape == (count,)
            assert (scores != 0).all()
