"""What OpenAPI promises is what is answered: schemathesis asks the real gateway and server."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.server


def test_the_schema_is_of_the_models_that_are_served(gateway):
    paths = gateway.get("/openapi.json").json()["paths"]
    for route in ("esm2", "esm2-650m"):
        body = paths[f"/v1/biology/meta/{route}"]["post"]["requestBody"]
        items = body["content"]["application/json"]["schema"]["properties"]["sequences"]["items"]
        assert items["maxLength"] == 1022
        assert f"/protein-embedding/{route}/embeddings" in paths


def test_schemathesis_finds_no_violation(gateway, tmp_path):
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"{gateway.url}/openapi.json",
            "--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "10",
            "--seed", "1", "--generation-database", "none", "--no-color",
        ],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "13 selected" in done.stdout or "Operations:" in done.stdout, done.stdout
