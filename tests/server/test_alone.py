"""The package alone, without torch and NeMo, is enough to query a server."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
FORBIDDEN = ("torch", "nemo", "megatron", "lightning", "transformers", "hydra", "sklearn", "triton")
CHECK = f"""
import importlib.util, sys
import bionemo_ext.client
loaded = {{name.partition(".")[0] for name in sys.modules}}
found = [name for name in {FORBIDDEN!r} if name in loaded or importlib.util.find_spec(name)]
assert not found, found
assert bionemo_ext.__file__.startswith(sys.prefix), bionemo_ext.__file__
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def needed(found: Distribution, seen: dict[str, Distribution]) -> dict[str, Distribution]:
    """What a distribution declares to need, and what that needs, without extras of its own."""
    for text in found.requires or ():
        requirement = Requirement(text)
        extras = requirement.extras or {""}
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and name not in seen:
            seen[name] = distribution(name)
            needed(seen[name], seen)
        if wanted and extras != {""}:
            for inner in seen[name].requires or ():
                chosen = Requirement(inner)
                if chosen.marker and any(chosen.marker.evaluate({"extra": e}) for e in extras):
                    key = re.sub(r"[-_.]+", "-", chosen.name).lower()
                    if key not in seen:
                        seen[key] = distribution(key)
                        needed(seen[key], seen)
    return seen


@pytest.fixture(scope="module")
def bare_python(wheel, tmp_path_factory) -> Path:
    """A virtual environment that has the wheel and links to what it declares, nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (info,) = packages.glob("bionemo_ext-*.dist-info")
    for found in needed(Distribution.at(info), {}).values():
        for name in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(found.locate_file(name))
    return folder / "bin" / "python"


def query(python: Path, url: str, folder: Path) -> None:
    """Import the client where torch is not, then embed a FASTA file there."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    (folder / "p.fasta").write_text(">a\nMKTVRQG\n>b\nGG\n")
    embed = ["-m", "bionemo_ext", "embed", "p.fasta", "--url", url, "--out", "x.npz"]
    for words in (["-c", CHECK], embed):
        done = subprocess.run(
            [str(python), *words], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_the_declared_dependencies_are_enough(bare_python, server, client, tmp_path):
    query(bare_python, server.url, tmp_path)
    expected = client.embed(["MKTVRQG", "GG"])
    np.testing.assert_allclose(
        np.load(tmp_path / "x.npz")["embeddings"], expected, rtol=0, atol=1e-5
    )


def test_what_needs_an_extra_says_so(bare_python, tmp_path):
    for words, extra in (
        (["serve", str(tmp_path)], "serve"),
        (["export", str(tmp_path), "--out", "x"], "serve"),
    ):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / "m" / "config.pbtxt").touch()
        done = subprocess.run(
            [str(bare_python), "-m", "bionemo_ext", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert f"pip install 'bionemo-ext[{extra}]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_pip_install_alone_in_an_empty_environment(server, tmp_path):
    """Needs the package registry; the tests above do the same with what is installed here."""
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", str(ROOT)]
    patience = {"PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "10"}  # for its isolated build too
    done = subprocess.run(install, env={**os.environ, **patience}, capture_output=True, text=True)
    if done.returncode and re.search(r"Retrying|connection broken|Errno -[23]", done.stderr):
        pytest.skip("the package registry cannot be reached")
    assert done.returncode == 0, done.stderr
    query(python, server.url, tmp_path)
