"""The images: one version of everything, no root, nothing that a linter finds wrong."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from rendering import CHART, ROOT, TOOLS, objects

from bionemo_ext import __version__

IMAGES = ("gateway", "serving", "training")
EVERY = pytest.mark.parametrize("name", IMAGES)
USER = 10001


def dockerfile(name):
    return (ROOT / "docker" / f"{name}.Dockerfile").read_text()


def locked(package):
    text = (ROOT / "requirements.lock").read_text()
    return re.search(rf"^{package}==(\S+)", text, re.MULTILINE)[1]


def test_there_is_a_dockerfile_of_each_and_no_other():
    assert {p.name.split(".")[0] for p in (ROOT / "docker").iterdir()} == set(IMAGES)
    assert not list((ROOT / "k8s").rglob("*Dockerfile"))


@EVERY
def test_it_is_built_in_stages_and_not_run_by_root(name):
    text = dockerfile(name)
    stages = re.findall(r"^FROM (\S+) AS (\w+)$", text, re.MULTILINE)
    assert len(stages) == 2
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER (\d+)$", last, re.MULTILINE)[1] == str(USER)
    assert f"useradd --uid {USER} " in last
    (argument,) = re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", text, re.MULTILINE)
    assert all(image == f"${{{argument[0]}}}" for image, _ in stages)
    assert re.search(r":\d[\w.-]+$", argument[1])
    assert f"--build-arg {argument[0]}=" in text  # how to name it by digest


@EVERY
def test_what_it_copies_is_there_and_not_ignored(name):
    ignored = (ROOT / "docker" / f"{name}.Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    for words in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile(name), re.MULTILINE):
        for source in words.split():
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored


def test_versions_are_those_of_the_lock():
    project = (ROOT / "pyproject.toml").read_text()
    for name in IMAGES:
        text = dockerfile(name)
        assert "requirements.lock" in text
        if "uv venv --python" in text:
            assert "--python 3.11 " in text
        assert re.findall(r"uv==(\S+)", text) == ["0.8.14"]
        assert set(re.findall(rf"-t bionemo-ext-{name}:(\S+)", text)) == {__version__}
    assert 'requires-python = ">=3.11,<3.12"' in project
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11\.", dockerfile("gateway"), re.MULTILINE)
    # Megatron-core 0.15.3 asks for TransformerEngine 2.9.
    assert locked("megatron-core") == "0.15.3"
    assert "ARG TRANSFORMER_ENGINE=2.9." in dockerfile("training")
    # Container 24.10 has the Triton of this nvidia-pytriton (serving/binaries.py).
    assert locked("nvidia-pytriton") == "0.7.0"
    assert "tritonserver:24.10-py3" in dockerfile("serving")


def test_manifests_name_these_images_in_this_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    known = {f"bionemo-ext-{name}:{__version__}" for name in IMAGES}
    found = {
        image.strip("'\"")
        for path in (ROOT / "k8s").rglob("*.yaml")
        if CHART not in path.parents
        for image in re.findall(r"image[:=] ?(bionemo-ext\S+)", path.read_text())
    }
    for one in objects(("values-cpu.yaml",)):
        pod = one.get("spec", {}).get("template", {}).get("spec", {})
        found |= {container["image"] for container in pod.get("containers", ())}
        assert pod.get("securityContext", {}).get("runAsUser", USER) == USER
    assert found == known


@EVERY
def test_hadolint(name):
    binary = shutil.which("hadolint") or TOOLS / "hadolint"
    if not Path(binary).is_file():
        pytest.skip(f"no hadolint on the PATH and none in {TOOLS}; .ci/tools installs it")
    path = ROOT / "docker" / f"{name}.Dockerfile"
    done = subprocess.run([binary, path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
