"""docs/deploy.md: its commands are such, and its tables say what the chart does."""

import itertools
import re
import shlex

import pytest
import yaml
from rendering import CHART, ROOT, command_in_comment, objects, one, run_helm

DOCS = (ROOT / "docs" / "deploy.md").read_text()
GIB = 2**30


def commands(program):
    """The commands of a program in the page, as words."""
    text = "\n".join(re.findall(r"^    (.*)$", DOCS, re.MULTILINE)).replace("\\\n", "")
    found = [shlex.split(line.removesuffix(" &")) for line in text.splitlines()]
    return [words for words in found if words[0] == program]


def rendered(words):
    done = run_helm("template", "esm2", CHART, "--namespace", "proteins", *words)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def options(words, names):
    """Options among ``words``, each with its value, files below the repository."""
    pairs = itertools.pairwise(words)
    found = [(name, ROOT / v if name == "-f" else v) for name, v in pairs if name in names]
    return [word for pair in found for word in pair]


def test_every_release_is_one_that_the_chart_makes():
    (install,) = [words for words in commands("helm") if words[1] == "install"]
    assert install[2:4] == ["esm2", "k8s/chart"]
    base = options(install, ("-f", "--set"))
    upgrades = [words for words in commands("helm") if words[1] == "upgrade"]
    assert len(upgrades) == 4
    for more in ([], *(options(words, ("-f", "--set")) for words in upgrades)):
        assert rendered([*base, *more])


def test_names_and_files_are_there():
    (install,) = [words for words in commands("helm") if words[1] == "install"]
    found = rendered(options(install, ("-f", "--set")))
    text = yaml.safe_dump_all(found)
    files = [
        ROOT / path for path in re.findall(r"\bk8s/[\w/.-]+\.yaml|docker/\w+\.Dockerfile", DOCS)
    ]
    assert len(files) >= 10
    assert all(path.is_file() for path in files)
    for kind, name in re.findall(r"(deployment|service|pod|job)/([a-z][\w-]+)", DOCS):
        manifests = "".join(path.read_text() for path in files)
        assert f"name: {name}\n" in text + manifests, (kind, name)
    headless = one(found, "Service", "-grpc")["metadata"]
    assert f"grpc://{headless['name']}.{headless['namespace']}.svc:8001" in DOCS
    rules = re.findall(r"/pods/\*/(\w+)", DOCS)
    recorded = [
        r.get("record") for g in one(found, "PrometheusRule")["spec"]["groups"] for r in g["rules"]
    ]
    assert set(rules) == set(filter(None, recorded))


def test_what_launch_is_told_is_what_the_manifest_says():
    """Which is what launch writes: test_training_manifests."""
    (words,) = [words for words in commands("bionemo-ext") if words[1] == "launch"]
    manifest = ROOT / "k8s" / "training" / "trainjob-650m.yaml"
    assert [word.replace("REGISTRY/", "") for word in words[1:]] == command_in_comment(manifest)


def sizes():
    """Rows of the page's table: model, cores and GiB on a CPU, and on a GPU."""
    rows = re.findall(
        r"^\| (`esm.*?) \| (\d+), (\d+) GiB \| (\d+), (\d+) GiB \|", DOCS, re.MULTILINE
    )
    return {
        name: [int(n) for n in row[1:]] for row in rows for name in re.findall(r"`(\w+)`", row[0])
    }


@pytest.mark.parametrize("model", sizes())
def test_a_pod_gets_what_the_page_says_and_its_model_needs(model):
    cores, memory, gpu_cores, gpu_memory = sizes()[model]
    for device, expected in (("cpu", (cores, memory)), ("gpu", (gpu_cores, gpu_memory))):
        found = objects((), (f"model={model}", f"device={device}"))
        (only,) = one(found, "Deployment")["spec"]["template"]["spec"]["containers"]
        resources = only["resources"]
        assert resources["requests"] == {"cpu": str(expected[0]), "memory": f"{expected[1]}Gi"}
        assert resources["limits"].items() >= resources["requests"].items()
        assert ("nvidia.com/gpu" in resources["limits"]) == (device == "gpu")
        assert f"--threads={expected[0]}" in only["args"]
        weights = weights_gib(model) * (2 if device == "cpu" else 1)
        assert weights + 3 <= expected[1] < weights + 3 + 4


def weights_gib(model):
    """GiB of a model's weights in float32: in each layer 12 matrices H x H, or as many as that."""
    shape = yaml.safe_load((ROOT / "conf" / "model" / f"{model}.yaml").read_text())
    return 4 * 12 * shape["layers"] * shape["hidden"] ** 2 / GIB
