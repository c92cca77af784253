"""What launch would submit is what the cluster runs: batch scripts run in bash, here it trains."""

import os
import shlex
import shutil
import socket
import subprocess
import sys

import pytest
import yaml
from running import losses

from bionemo_ext.resources import data_path

RUN = ("recipe=esm2_3b", "data=fasta")
SLURM = ("cluster=slurm", "cluster.account=proteins", *RUN)
KUBEFLOW = ("cluster=kubeflow", "cluster.image=registry/image:1", *RUN)
VOLUME = "cluster.volumes={/data: claim}"
PATHS = ("data.train=/data/uniref", "out=/data/runs/a")
DATA = f"data.train={data_path('uniprot.fasta.gz')}"


def test_a_slurm_script(shown, tmp_path):
    script = shown(*SLURM, "parallel.nodes=4", "cluster.time=2:00:00", "cluster.partition=gpu",
                   "cluster.flags.comment=mine", "data.train=data/u", "out=runs/a")  # fmt: skip
    flags = [line.removeprefix("#SBATCH --") for line in script.splitlines() if "#SBATCH" in line]
    here = tmp_path / "here"
    expected = {"account=proteins", "partition=gpu", "time=2:00:00", "comment=mine", "nodes=4"}
    assert expected | {"gpus-per-node=8", "signal=TERM@120", "exclusive"} <= {*flags}
    assert "export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=110" in script
    [srun] = [line for line in script.splitlines() if line.startswith("srun --output")]
    words = shlex.split(srun)
    torchrun = words[words.index("torchrun") :]
    assert torchrun[torchrun.index("--nnodes") + 1] == "4"
    assert torchrun[torchrun.index("--nproc-per-node") + 1] == "8"
    command = torchrun[torchrun.index("-m") :]
    assert command[:3] == ["-m", "bionemo_ext", "pretrain"]
    # The job runs elsewhere: the last word of a key counts.
    last = dict(word.partition("=")[::2] for word in command[3:])
    assert (last["out"], last["data.train"]) == (str(here / "runs/a"), str(here / "data/u"))
    assert not any("cluster" in word for word in command)
    assert str(here / "runs" / "a.launch") in srun
    assert "--container" not in script


def test_a_slurm_script_with_an_image(shown):
    script = shown(*SLURM, *PATHS, "cluster.image=registry/image:1", "cluster.mounts=[/data:/data]",
                   "cluster.workdir=/work", "cluster.env.NCCL_DEBUG=WARN")  # fmt: skip
    [srun] = [line for line in script.splitlines() if line.startswith("srun --output")]
    words = shlex.split(srun)
    assert words[words.index("--container-image") + 1] == "registry/image:1"
    mounts = words[words.index("--container-mounts") + 1].split(",")
    assert mounts[:2] == ["/data:/data", "/work:/work"]
    assert "export NCCL_DEBUG=WARN" in script
    assert "export PATH" not in script  # the image has its own


def program(path, text):
    """Write a program that stands for one of Slurm's."""
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


SRUN = """
for word; do [ "$word" = hostname ] && { echo 10.0.0.1; exit; }; done
echo x >> $FAKE/attempts
[ -z "$PROGRESS" ] || mkdir -p "$OUT/checkpoints/$PROGRESS"
exit $CODE
"""


@pytest.fixture(scope="module")
def job(command, tmp_path_factory):
    """A batch script, and the folder of its run."""
    out = tmp_path_factory.mktemp("job") / "run"
    done = command("launch", *SLURM, f"data.train={out.parent}", f"out={out}", "--dry-run")
    return done.stdout, out


@pytest.mark.parametrize(
    ("progress", "code", "again"),
    [
        ("step-00000200", 1, True),  # told to end: it has saved, and torchrun fails
        ("", 1, False),  # a mistake: it would fail again
        ("step-00000100", 1, False),  # the checkpoint that was there before
        ("step-00000200.partial", 1, False),  # not whole
        ("step-00000200", 0, False),  # done
    ],
)
def test_a_job_is_queued_again_if_it_got_on(job, tmp_path, progress, code, again):
    script, out = job
    shutil.rmtree(out, ignore_errors=True)
    (out / "checkpoints" / "step-00000100").mkdir(parents=True)
    program(tmp_path / "srun", SRUN)
    program(
        tmp_path / "scontrol",
        '[ "$1" = requeue ] && echo $2 > $FAKE/requeued; echo node1',
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "FAKE": str(tmp_path),
            "OUT": str(out),
            "PROGRESS": progress,
            "CODE": str(code),
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "node1",
        },
    )
    assert done.returncode == code, done.stderr
    assert (tmp_path / "attempts").read_text() == "x\n"
    assert (tmp_path / "requeued").exists() is again


def test_slurm_takes_the_script(command, tmp_path, monkeypatch):
    program(tmp_path / "sbatch", f'cp "${{@: -1}}" {tmp_path}/taken; echo 4711')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    done = command("launch", *SLURM, DATA, f"out={tmp_path}/runs/a")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("submitted as Slurm job 4711;")
    assert "-m bionemo_ext pretrain recipe=esm2_3b" in (tmp_path / "taken").read_text()
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["a.launch"]
    assert not (tmp_path / "home").exists()


def test_slurm_does_not_take_it(refusal, tmp_path, monkeypatch):
    program(tmp_path / "sbatch", "echo 'sbatch: error: invalid account' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    code, sentence = refusal("launch", *SLURM, DATA, f"out={tmp_path}/a")
    assert code == 1
    assert "invalid account" in sentence


@pytest.mark.parametrize(("there", "said"), [(False, "no data file"), (True, "has no FASTA file")])
def test_nothing_is_submitted_without_data(refusal, tmp_path, there, said):
    data = tmp_path / "uniref"
    if there:
        data.mkdir()
    code, sentence = refusal("launch", *SLURM, f"data.train={data}", f"out={tmp_path}/a")
    assert (code, said in sentence, str(data) in sentence) == (2, True, True), sentence
    assert not (tmp_path / "a.launch").exists()


@pytest.mark.parametrize(
    ("out", "name"),
    [
        ("/data/runs/3b", "run-3b"),  # a service's name begins with a letter
        ("/data/runs/ESM-2_650M.v1", "esm-2-650m-v1"),
        ("/data/runs/" + "a" * 39 + "-" + "b" * 40, "a" * 39),
    ],
)
def test_the_job_has_a_name_that_a_cluster_takes(out, name):
    from bionemo_ext.recipes.launching import read

    assert read([*KUBEFLOW, VOLUME, "data.train=/data/uniref", f"out={out}"]).name == name


def test_a_trainjob(shown):
    body = yaml.safe_load(shown(*KUBEFLOW, *PATHS, VOLUME, "cluster.namespace=science"))
    assert (body["apiVersion"], body["kind"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob")
    assert body["metadata"] == {"name": "a", "namespace": "science"}
    trainer = body["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (8, 8)
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "8"
    assert trainer["command"] == ["torchrun", "-m", "bionemo_ext", "pretrain", *RUN, *PATHS]
    [patch] = body["spec"]["runtimePatches"]
    [job] = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]
    assert (job["name"], pod["containers"][0]["name"]) == ("node", "node")
    claims = {v["name"]: v.get("persistentVolumeClaim") for v in pod["volumes"]}
    assert claims == {"shm": None, "claim": {"claimName": "claim"}}
    mounts = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
    assert mounts == {"/dev/shm": "shm", "/data": "claim"}  # noqa: S108
    assert pod["terminationGracePeriodSeconds"] == 120


def test_a_trainjob_for_the_trainer_before(shown):
    words = [*KUBEFLOW, *PATHS, VOLUME, "cluster.pod_fields=podTemplateOverrides"]
    spec = yaml.safe_load(shown(*words))["spec"]
    [override] = spec["podTemplateOverrides"]
    assert override["targetJobs"] == [{"name": "node"}]
    assert set(override["spec"]) == {"volumes", "containers"}  # 2.1 knows no grace period here
    assert {v["name"] for v in override["spec"]["volumes"]} == {"shm", "claim"}
    assert "runtimePatches" not in spec


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("cluster=slum", *RUN),
            "there is no cluster 'slum'; choose one of kubeflow, local, slurm",
        ),
        (("cluster=slurm", *RUN, *PATHS), "cluster.account must be given"),
        ((*SLURM, "out=runs/a b", "data.train=u"), "out is runs/a b, but for Slurm"),
        ((*SLURM, *PATHS, "cluster.nodes=3"), "there is no key cluster.nodes"),
        ((*SLURM, *PATHS, "cluster.warn_seconds=5"), "must be at least 11"),
        ((*SLURM, "out=a"), "data.train must be given"),
        ((*SLURM, *PATHS, "micro_batch=7"), "is not a multiple of micro_batch"),
        ((*KUBEFLOW, *PATHS), "out is /data/runs/a, but a path below a volume is needed"),
        ((*KUBEFLOW, VOLUME, "out=/data/a", "data.train=/databases/u"), "data.train is /databases"),
        ((*KUBEFLOW, VOLUME, *PATHS, "init=runs/8m"), "init is runs/8m, but a path below a volume"),
        ((*RUN, *PATHS), "parallel.nodes is 8, but cluster=local is one node"),
        ((*RUN, *PATHS, "cluster.rendezvous=node1"), "HOST:PORT is needed, as node1:29500"),
        ((*RUN, *PATHS, "model=esm2_7b"), "there is no model 'esm2_7b'; choose one of"),
        ((*RUN, *PATHS, "parallel.tensor=3"), "does not divide the number of devices, 64"),
        (("cluster=kubeflow", VOLUME, *RUN, *PATHS), "cluster.image must be given"),
        (("recipe=demo", "data.train=nowhere.fasta", "out=a"), "no data file or folder nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(refusal, words, said):
    code, sentence = refusal("launch", *words, "--dry-run")
    assert (code, said in sentence) == (2, True), sentence


SHORT = ("recipe=demo", "model.layers=1", "steps=6", "validate_every=6", "checkpoint_every=6",
         "log_every=1")  # fmt: skip


def test_here_it_trains(command, tmp_path, monkeypatch):
    """Two processes that share every layer."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    out = tmp_path / "a"
    done = command("launch", *SHORT, f"out={out}")
    assert done.returncode == 0, done.stderr
    assert (out / "huggingface" / "model.safetensors").is_file()
    assert "step 6/6" in done.stdout + done.stderr
    found = losses(out)
    assert (len(found), found[-1] < found[0] - 0.1) == (6, True), found
    assert list((tmp_path / "home").rglob("*nemo*")) == []
    assert {p.name for p in tmp_path.iterdir()} - {"home"} == {"a", "a.launch"}


@pytest.mark.slow
def test_two_nodes_without_a_scheduler_train_as_one(tmp_path):
    """The same command on both; each has one of the two processes that share every layer."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    place = (f"cluster.rendezvous=127.0.0.1:{port}", "cluster.env.PET_LOCAL_ADDR=127.0.0.1")
    nodes = ("parallel.nodes=2", "parallel.devices=1", f"out={tmp_path / 'a'}")
    words = [sys.executable, "-m", "bionemo_ext", "launch", *SHORT, *place, *nodes]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("step 6/6" in text for text in told) == 1
    assert len(losses(tmp_path / "a")) == 6
    assert len(list((tmp_path / "a.launch" / "experiments" / "a").iterdir())) == 2
