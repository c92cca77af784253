"""What the manifests run is what the command takes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def dockerfile():
    return (ROOT / "k8s" / "serve.Dockerfile").read_text()


@pytest.fixture(scope="module")
def container():
    documents = yaml.safe_load_all((ROOT / "k8s" / "serving.yaml").read_text())
    deployment = next(d for d in documents if d["kind"] == "Deployment")
    return deployment["spec"]["template"]["spec"]["containers"][0]


def test_the_image_copies_what_exists(dockerfile):
    sources = [
        w for line in re.findall(r"^COPY (.*)$", dockerfile, re.M) for w in line.split()[:-1]
    ]
    assert {"bionemo_ext", "conf", "triton_models", "pyproject.toml"} <= set(sources)
    assert all((ROOT / source).exists() for source in sources)


def test_the_pod_runs_a_command_line_that_serve_takes(dockerfile, container, tmp_path):
    entrypoint = json.loads(re.search(r"^ENTRYPOINT (.*)$", dockerfile, re.M)[1])
    assert entrypoint[:3] == ["bionemo-ext", "serve", "/models/triton"]
    words = ["serve", str(tmp_path / "none"), *entrypoint[3:], *container["args"]]
    done = subprocess.run(
        [sys.executable, "-m", "bionemo_ext", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert str(tmp_path / "none") in done.stderr, done.stderr
    assert "Usage" not in done.stderr
    assert container["volumeMounts"][0]["mountPath"] == "/models"


def test_the_ports_are_those_of_serve(container):
    assert [port["containerPort"] for port in container["ports"]] == [8000, 8001, 8002]
