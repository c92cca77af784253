"""Whatever is chosen by value, Helm renders it, and every object is one that Kubernetes takes."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from rendering import CHART, COMBINATIONS, TOOLS, objects, run_helm

# The first that Chart.yaml allows, one between, the newest.
VERSIONS = ("1.31", "1.34", "1.37")
CUSTOM = {
    "PodMonitor", "ServiceMonitor", "PrometheusRule", "ScaledObject", "GRPCRoute", "HTTPRoute",
}  # fmt: skip
EVERY = pytest.mark.parametrize("values", COMBINATIONS.values(), ids=COMBINATIONS)


def test_lint():
    done = run_helm("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert told == ["[INFO] Chart.yaml: icon is recommended"]


@EVERY
def test_every_object_is_one_that_kubernetes_takes(values):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")
    found = objects(*values)
    for version in VERSIONS:
        for one in found:
            if one["kind"] not in CUSTOM:
                validator.validate(one, version, strict=True)
    names = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(names) == len(set(names))


def test_the_validator_sees_a_typing_error():
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")
    (deployment,) = (o for o in objects() if o["kind"] == "Deployment")
    wrong = json.loads(json.dumps(deployment).replace("readinessProbe", "readynessProbe"))
    with pytest.raises(validator.ValidationError, match="readynessProbe"):
        validator.validate(wrong, VERSIONS[-1], strict=True)


def custom_mistakes(found):
    """What Kubernetes' models of custom resources find wrong."""
    node = shutil.which("node")
    if not (node and (TOOLS / "node_modules").is_dir()):
        pytest.skip(
            f"no node, or no models of custom resources in {TOOLS}; .ci/tools installs them"
        )
    script = Path(__file__).parent / "custom_models.mjs"
    done = subprocess.run(
        [node, script, TOOLS], input=json.dumps(found), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_custom_resources_are_such():
    found = [o for v in COMBINATIONS.values() for o in objects(*v) if o["kind"] in CUSTOM]
    assert {o["kind"] for o in found} == CUSTOM
    assert custom_mistakes(found) == []
    wrong = [{**o, "spec": {}} for o in found if o["kind"] in {"PodMonitor", "ScaledObject"}]
    assert len(custom_mistakes(wrong)) == len(wrong)


def test_the_schema_knows_every_value_and_no_other():
    def paths(value, parents=()):
        yield parents
        for key, inner in value.items() if isinstance(value, dict) else ():
            yield from paths(inner, (*parents, key))

    def schema_paths(node, parents=()):
        yield parents
        for key, inner in node.get("properties", {}).items():
            yield from schema_paths(inner, (*parents, key))

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    # Of Kubernetes' own types, or keys that the user chooses.
    free = {("gateway", "resources"), ("networkPolicy", "monitoring"), ("resources",)}
    schema = json.loads((CHART / "values.schema.json").read_text())

    def own(all_paths):
        return {p for p in all_paths if not any(p[: len(f)] == f and p != f for f in free)}

    assert own(schema_paths(schema)) - {("global",)} == own(paths(values))
