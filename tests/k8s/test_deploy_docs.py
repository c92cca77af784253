"""docs/deploy.md: its commands are such, and its tables say what the chart does."""

import itertools
import re
import shlex
import shutil
import subprocess

import pytest
import yaml
from rendering import CHART, COMBINATIONS, ROOT, command_in_comment, objects, one, run_helm
from test_chart_refuses import MISTAKES

DOCS = (ROOT / "docs" / "deploy.md").read_text()
GIB = 2**30
CORE = {"v1", "apps/v1", "batch/v1", "policy/v1", "networking.k8s.io/v1"}


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
    assert len(upgrades) == 5
    for more in ([], *(options(words, ("-f", "--set")) for words in upgrades)):
        claims = [o for o in rendered([*base, *more]) if o["kind"] == "PersistentVolumeClaim"]
        # A claim that a release kept and let go of is one that Helm cannot roll back to.
        assert [one["metadata"]["name"] for one in claims] == ["bionemo-ext-models"]
        assert claims[0]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_names_and_files_are_there():
    (install,) = [words for words in commands("helm") if words[1] == "install"]
    (with_prometheus,) = [words for words in commands("helm") if "-f" in words]
    base, more = (options(words, ("-f", "--set")) for words in (install, with_prometheus))
    # A cluster in which there is nothing yet knows no custom resources.
    assert {o["apiVersion"] for o in rendered(base)} <= CORE
    found = rendered([*base, *more])
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


def test_the_manifests_take_a_registry(tmp_path):
    (words,) = commands("sed")
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    subprocess.run(["bash", "-c", shlex.join(words[:3]) + " " + " ".join(words[3:])],
                   cwd=tmp_path, check=True)  # fmt: skip
    text = "".join(p.read_text() for p in (tmp_path / "k8s").glob("[jt]*/*.yaml"))
    images = re.findall(r"image: (\S+)", text)
    assert len(images) >= 8
    assert all(image.startswith("REGISTRY/bionemo-ext-") for image in images)


def test_as_many_mistakes_are_told_as_the_page_says():
    assert f" {len(MISTAKES)} wrong values" in DOCS


def words_of_notes(values):
    """The commands that Helm shows after an installation, without those of the shell around."""
    done = run_helm(
        "install", "esm2", CHART, "--namespace", "proteins", "--dry-run=client", *values
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


@pytest.mark.parametrize("values", COMBINATIONS.values(), ids=COMBINATIONS)
def test_the_notes_name_what_is_there(values):
    files, sets = values
    words = [w for f in files for w in ("-f", CHART / f)] + [w for s in sets for w in ("--set", s)]
    notes = words_of_notes(words)
    found = objects(*values)
    named = re.findall(r"(deployment|service)/([a-z][\w-]+)|get (hpa|scaledobject) (\S+)", notes)
    kinds = {
        "deployment": "Deployment", "service": "Service", "hpa": "HorizontalPodAutoscaler",
        "scaledobject": "ScaledObject",
    }  # fmt: skip
    assert named
    for kind, name in ((a or c, b or d) for a, b, c, d in named):
        names = [o["metadata"]["name"] for o in found if o["kind"] == kinds[kind]]
        assert name in names
    assert ("helm test esm2" in notes) == any(o["kind"] == "Job" for o in found)
    # Through a tunnel nobody has the certificate's name.
    tls = any(one.startswith("tls.secret=") for one in sets)
    assert ("grpc://127.0.0.1:8001" in notes, "grpcs://esm2-" in notes) == (not tls, tls)


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
