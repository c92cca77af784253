"""What OpenAPI promises is what is answered: schemathesis asks the real gateway and server."""

import subprocess
import sys

import pytest
from gateway_process import TOKEN

pytest.importorskip("schemathesis")
pytestmark = pytest.mark.server

# How Python 3.11 fails, by chance, where threads parse (github.com/python/cpython/issues/106905).
PYTHON_FAILED = "AST constructor recursion depth mismatch"


def violations(url, place, *options):
    """Let schemathesis ask; give its exit code and report."""
    for _ in range(3):
        done = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json",
                "--checks", "all", "--seed", "1", "--workers", "4",
                "--generation-database", "none", "--no-color", *options,
            ],
            capture_output=True, text=True, timeout=300, cwd=place,
        )  # fmt: skip
        if PYTHON_FAILED not in done.stdout:
            break
    return done.returncode, done.stdout + done.stderr


def test_the_schema_is_of_the_models_that_are_served(gateway):
    paths = gateway.get("/openapi.json").json()["paths"]
    for route in ("esm2", "esm2-650m"):
        body = paths[f"/v1/biology/meta/{route}"]["post"]["requestBody"]
        items = body["content"]["application/json"]["schema"]["properties"]["sequences"]["items"]
        assert items["maxLength"] == 1022
        assert f"/protein-embedding/{route}/embeddings" in paths


def test_schemathesis_finds_no_violation(gateway, tmp_path):
    options = ("--phases", "examples,coverage,fuzzing", "--max-examples", "10")
    code, report = violations(gateway.url, tmp_path, *options)
    assert code == 0, report
    assert "Tested: 13" in report, report


def test_schemathesis_finds_no_way_around_the_token(guarded, tmp_path):
    header = f"Authorization: Bearer {TOKEN}"
    code, report = violations(guarded.url, tmp_path, "--phases", "examples", "--header", header)
    assert code == 0, report
    assert "Tested: 7" in report, report
