"""Training manifests: what `launch` writes, what Kubernetes takes, and commands that run."""

import gzip
from pathlib import Path

import pytest
import yaml
from rendering import ROOT, command_in_comment

TRAINING = ROOT / "k8s" / "training"
VERSIONS = ("1.31", "1.34", "1.37")


def documents(path):
    return [found for found in yaml.safe_load_all(path.read_text()) if found]


@pytest.mark.parametrize("name", ["650m", "3b"])
def test_a_trainjob_is_what_launch_writes(name, command):
    path = TRAINING / f"trainjob-{name}.yaml"
    done = command(*command_in_comment(path), "--dry-run")
    assert done.returncode == 0, done.stderr
    (job,) = documents(path)
    assert yaml.safe_load(done.stdout) == job
    trainer = job["spec"]["trainer"]
    nodes = {"650m": (1, 8), "3b": (4, 8)}[name]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == nodes
    # These take the place of the runtime's, so they must say everything.
    assert trainer["resourcesPerNode"] == {
        "requests": {"cpu": "32", "memory": "256Gi", "nvidia.com/gpu": "8"},
        "limits": {"memory": "256Gi", "nvidia.com/gpu": "8"},
    }
    env = {one["name"]: one["value"] for one in trainer["env"]}
    assert env["NCCL_DEBUG"] == "WARN"
    assert ("CUDA_DEVICE_MAX_CONNECTIONS" in env) is (name == "3b")  # tensor parallel


@pytest.mark.parametrize("name", ["650m", "3b"])
def test_a_trainjob_is_one_by_kubeflow_s_own_types(name):
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="not part of the lock")
    (job,) = documents(TRAINING / f"trainjob-{name}.yaml")
    read = models.TrainerV1alpha1TrainJob.from_dict(job)
    assert yaml.safe_load(read.to_json()) == job  # nothing that the type does not know


def test_the_runtime_is_one_by_kubeflow_s_own_types():
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="not part of the lock")
    (runtime,) = documents(TRAINING / "runtime.yaml")
    read = models.TrainerV1alpha1ClusterTrainingRuntime.from_dict(runtime)
    assert yaml.safe_load(read.to_json()) == runtime


def test_a_trainjob_fits_its_runtime():
    """Its patch names a job and a container that the runtime has, and leaves time to save."""
    (runtime,) = documents(TRAINING / "runtime.yaml")
    jobs = {j["name"]: j for j in runtime["spec"]["template"]["spec"]["replicatedJobs"]}
    for path in TRAINING.glob("trainjob-*.yaml"):
        (job,) = documents(path)
        assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
        (patch,) = job["spec"]["runtimePatches"]
        (changed,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        pod = jobs[changed["name"]]["template"]["spec"]["template"]["spec"]
        new = changed["template"]["spec"]["template"]["spec"]
        assert {c["name"] for c in new["containers"]} == {c["name"] for c in pod["containers"]}
        claims = {c["metadata"]["name"] for c in documents(TRAINING / "storage.yaml")}
        used = {
            v["persistentVolumeClaim"]["claimName"] for v in new["volumes"] if v["name"] != "shm"
        }
        assert used <= claims
        (grace,) = [
            int(e["value"]) for e in job["spec"]["trainer"]["env"] if "SHUTDOWN" in e["name"]
        ]
        assert grace < new["terminationGracePeriodSeconds"]


def job_of_runtime():
    """The Job that Kubeflow Trainer makes of the runtime, for Kubernetes' own schema."""
    (runtime,) = documents(TRAINING / "runtime.yaml")
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}} | {
        "spec": job["template"]["spec"]
    }


def test_kubernetes_takes_every_object():
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")
    paths = [*TRAINING.glob("*.yaml"), *(ROOT / "k8s" / "jobs").glob("*.yaml")]
    found = [o for p in paths for o in documents(p) if "kubeflow" not in o["apiVersion"]]
    assert len(found) >= 5
    for one in [*found, job_of_runtime()]:
        for version in VERSIONS:
            validator.validate(one, version, strict=True)


def run_job(path, command, root, *more):
    """Run a Job's command with its volume at ``root``."""
    (job,) = documents(path)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    program, *words = container["command"]
    assert program == "bionemo-ext"
    mounts = [m["mountPath"] for m in container["volumeMounts"]]
    assert "/data" in mounts
    done = command(*(word.replace("/data/", f"{root}/") for word in words), *more)
    assert done.returncode == 0, done.stderr


def test_the_job_that_exports_exports(tiny_hf_folder, command, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "esm2-650m").symlink_to(tiny_hf_folder)
    path = ROOT / "k8s" / "jobs" / "export.yaml"
    text = path.read_text().replace("            - --task=/data/runs/fold\n", "")
    assert text != path.read_text()
    (tmp_path / "export.yaml").write_text(text)
    run_job(tmp_path / "export.yaml", command, tmp_path)
    assert Path(tmp_path, "served", "v1", "triton", "esm2_embed", "config.pbtxt").is_file()


@pytest.mark.slow
def test_the_job_that_builds_data_builds_it(command, tmp_path):
    folder = tmp_path / "uniprot"
    folder.mkdir()
    names = [f"A0A{i:03d}" for i in range(40)]
    residues = "ACDEFGHIKLMNPQRSTVWY"
    for kind in ("50", "90"):
        with gzip.open(folder / f"uniref{kind}.fasta.gz", "wt") as file:
            for i, name in enumerate(names):
                sequence = "".join(residues[(i * k + k // 3 + i) % 20] for k in range(60 + i))
                file.write(f">UniRef{kind}_{name} of the tests\n{sequence}\n")
    with gzip.open(folder / "idmapping_selected.tab.gz", "wt") as file:
        for name in names:
            file.write(f"UniRef50_{name}\tUniRef90_{name}\n")
    run_job(TRAINING / "data.yaml", command, tmp_path, "--search", "none")
    assert any(Path(tmp_path, "uniref").iterdir())


@pytest.mark.slow
def test_the_fine_tuning_command_is_one(command):
    """Under torchrun; here only its words: the encoder is not there, which is told."""
    (job,) = documents(TRAINING / "finetune.yaml")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    words = container["command"]
    assert words[:5] == ["torchrun", "--standalone", "--nproc-per-node=1", "-m", "bionemo_ext"]
    done = command(*words[5:])
    assert done.returncode == 2
    assert "/data/runs/esm2-650m" in done.stderr
    assert "Traceback" not in done.stderr
