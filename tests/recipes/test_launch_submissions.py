"""What launch writes for the 650M and the 3B model is complete, here and on Slurm.

The TrainJobs of both are k8s/training/trainjob-*.yaml: tests/k8s/test_training_manifests.py.
"""

import json
import re
import shlex
import subprocess

import pytest

from bionemo_ext.resources import data_path

# The words of a run, its nodes, and whether its ranks share layers.
RUNS = {
    "650m": (("recipe=esm2_650m", "parallel.nodes=1"), 1, False),
    "3b": (("recipe=esm2_3b", "parallel=node_tp2", "parallel.nodes=4"), 4, True),
}
EVERY = pytest.mark.parametrize("name", RUNS)
SLURM = (
    "cluster=slurm", "cluster.account=proteins", "cluster.partition=gpu", "cluster.workdir=/shared",
    "cluster.image=registry.example.org#proteins/bionemo-ext-training:0.1.0",
    "cluster.mounts=[/shared:/shared]", "cluster.env.http_proxy=http://a b",
    "data.train=uniref", "out=runs/3b", "init=facebook/esm2_t36_3B_UR50D",
)  # fmt: skip


def after(words, option):
    return words[words.index(option) + 1]


def torchrun(words):
    """Options of a torchrun that finds its place itself."""
    options = words[words.index("-m") - 12 : words.index("-m")]
    return dict(zip(options[::2], options[1::2], strict=True))


@EVERY
def test_here(name, shown, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run, nodes, tensor = RUNS[name]
    place = ("cluster.rendezvous=node1:29500",) if nodes > 1 else ()
    paths = (f"data.train={data_path('uniprot.fasta.gz')}", "out=runs/3b")
    words = shlex.split(shown(*run, *place, *paths))
    assert words[0] == "env"
    env = dict(word.split("=", 1) for word in words[1 : words.index("--rdzv-backend") - 1])
    assert ("CUDA_DEVICE_MAX_CONNECTIONS" in env) is tensor
    assert env["NCCL_DEBUG"] == "WARN"
    assert words[words.index("--rdzv-backend") - 1].endswith("/bin/torchrun")
    options = torchrun([*words])
    assert (options["--nnodes"], options["--nproc-per-node"]) == (str(nodes), "8")
    assert options["--rdzv-endpoint"] == (place[0].split("=")[1] if place else "localhost:0")
    assert words[words.index("-m") :] == ["-m", "bionemo_ext", "pretrain", *run, *paths]


@EVERY
def test_slurm(name, shown, tmp_path):
    run, nodes, tensor = RUNS[name]
    script = shown(*SLURM, *run)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    flags = [line.removeprefix("#SBATCH --") for line in script.splitlines() if "#SBATCH" in line]
    home = "/shared/runs/3b.launch"
    log = next(flag for flag in flags if flag.startswith("output="))
    assert log.startswith(f"output={home}/")
    assert {*flags} - {log} == {
        "account=proteins", "partition=gpu", "exclusive", "gpus-per-node=8", "mem=0", "requeue",
        "job-name=bionemo-ext.run-3b", f"nodes={nodes}", "ntasks-per-node=1", "open-mode=append",
        "signal=TERM@120", "time=24:00:00",
    }  # fmt: skip
    # Who submits it by hand makes the folder of its log, as the script says.
    made = re.search(r"^# Run with: mkdir -p (\S+)/code && sbatch", script, re.MULTILINE)[1]
    assert log.startswith(f"output={made}/")
    [line] = [line for line in script.splitlines() if line.startswith("srun --output")]
    words = shlex.split(line)
    assert words[words.index("--container-image") + 1] == SLURM[4].partition("=")[2]
    assert after(words, "--container-mounts") == f"/shared:/shared,{made}:/nemo_run"
    assert {"--cpu-bind=none", "--no-container-mount-home", "--kill-on-bad-exit=1"} <= {*words}
    options = torchrun(words)
    assert (options["--nnodes"], options["--nproc-per-node"]) == (str(nodes), "8")
    assert options["--rdzv-endpoint"] == ("$head_node_ip:29500" if nodes > 1 else "localhost:0")
    last = dict(word.partition("=")[::2] for word in words[words.index("pretrain") + 1 :])
    assert (last["data.train"], last["out"]) == ("/shared/uniref", "/shared/runs/3b")
    assert last["init"] == "facebook/esm2_t36_3B_UR50D"  # a name and no path
    env = environment_of(script, tmp_path)
    assert env["http_proxy"] == "http://a b"
    assert env["head_node_ip"] == "10.0.0.1"
    assert env["NCCL_DEBUG"] == "WARN"
    assert env["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "110"
    assert ("CUDA_DEVICE_MAX_CONNECTIONS" in env) is tensor
    # An image's own values give way to these.
    named = {"NCCL_DEBUG", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "http_proxy"}
    assert named <= {*after(words, "--container-env").split(",")} <= {*env}


def environment_of(script, folder):
    """Variables that the script has set when it starts the ranks; nodes have two addresses."""
    lines = script[: script.index("# Command 1")].replace("set -evx", "")
    stand_ins = 'srun() { echo "10.0.0.1 fe80::1"; }; scontrol() { echo node1; }\n'
    shell = f"{stand_ins}{lines}\nexport head_node_ip\npython3 -c '{DUMP}'"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=folder)
    return json.loads(done.stdout.splitlines()[-1])


DUMP = "import json, os; print(json.dumps(dict(os.environ)))"
