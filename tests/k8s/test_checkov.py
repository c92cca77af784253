"""checkov finds nothing that k8s/checkov.yaml does not explain."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from rendering import COMBINATIONS, ROOT, TOOLS, objects

pytestmark = pytest.mark.slow


def failed_checks(framework, folder):
    """Names of the checks that fail, and how many passed."""
    binary = shutil.which("checkov") or TOOLS / "checkov" / "bin" / "checkov"
    if not Path(binary).is_file():
        pytest.skip(
            f"no checkov on the PATH; python -m venv {TOOLS}/checkov && "
            f"{TOOLS}/checkov/bin/pip install checkov==3.3.30"
        )
    words = ["--framework", framework, "--skip-download", "--output", "json", "--quiet"]
    done = subprocess.run(
        [binary, "--directory", folder, *words],
        capture_output=True, text=True, timeout=300, env=os.environ | {"LOG_LEVEL": "ERROR"},
    )  # fmt: skip
    report = json.loads(done.stdout)
    failed = {found["check_id"] for found in report["results"]["failed_checks"]}
    return failed, report["summary"]["passed"]


@pytest.fixture(scope="module")
def explained():
    return yaml.safe_load((ROOT / "k8s" / "checkov.yaml").read_text())


def test_kubernetes(explained, tmp_path):
    for number, values in enumerate(COMBINATIONS.values()):
        text = yaml.safe_dump_all(objects(*values))
        (tmp_path / f"chart-{number}.yaml").write_text(text)
    for path in (ROOT / "k8s").glob("[!c]*/*.yaml"):
        shutil.copy(path, tmp_path)
    failed, passed = failed_checks("kubernetes", tmp_path)
    assert failed == set(explained["kubernetes"])
    assert passed > 1000


def test_dockerfiles(explained):
    failed, passed = failed_checks("dockerfile", ROOT / "docker")
    assert failed == set(explained["dockerfile"])
    assert passed > 100
