"""The Jobs of bulk embedding: what they ask of Kubernetes, and their commands run as processes."""

import signal

import pyarrow.parquet as pq
import pytest
import yaml
from bulk_run import random_proteins
from bulk_shards import finish, start
from pods import environment, local
from rendering import ROOT, objects, one

from bionemo_ext.errors import InputError
from bionemo_ext.serving import LocalServer

JOBS = ROOT / "k8s" / "jobs"
SERVICE = "grpc://esm2-bionemo-ext-grpc.proteins.svc:8001"
COUNT = 90


def job(name):
    return yaml.safe_load((JOBS / f"{name}.yaml").read_text())["spec"]


def container(name):
    (only,) = job(name)["template"]["spec"]["containers"]
    return only


@pytest.mark.parametrize("name", ["embed", "embed-gpu"])
def test_there_is_an_index_for_each_shard(name):
    spec, words = job(name), container(name)["command"]
    assert spec["completionMode"] == "Indexed"
    assert f"--shards={spec['completions']}" in words
    assert spec["parallelism"] <= spec["completions"]
    # An index is tried again; the others go on without one that never works.
    assert spec["backoffLimitPerIndex"] > 0
    assert spec["maxFailedIndexes"] == spec["completions"] - 1
    assert "backoffLimit" not in spec


@pytest.mark.parametrize("name", ["embed", "embed-gpu", "merge"])
def test_a_lost_node_costs_nothing_and_a_mistake_ends_the_job(name):
    spec = job(name)
    ignored, failed = spec["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore"
    assert ignored["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert (failed["action"], failed["onExitCodes"]["values"]) == (
        "FailJob",
        [InputError.exit_code],
    )
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_the_service_is_the_chart_s():
    headless = one(objects(), "Service", "-grpc")["metadata"]
    assert f"grpc://{headless['name']}.{headless['namespace']}.svc:8001" == SERVICE
    assert environment(container("embed"))["BIONEMO_EXT_URL"] == SERVICE


def test_the_merge_is_the_same_command():
    assert container("merge")["command"] == [*container("embed")["command"], "--merge"]
    shared = [word for word in container("embed-gpu")["command"] if word[:9] not in (
        "--offline", "--device="
    )]  # fmt: skip
    assert shared == container("embed")["command"]
    assert container("embed-gpu")["resources"]["limits"]["nvidia.com/gpu"] == "1"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The volume, with proteins in it."""
    folder = tmp_path_factory.mktemp("data")
    random_proteins(folder / "proteins.fasta", COUNT)
    return folder


def run(name, places, index=None, **variables):
    """Start a pod's container as a process of this machine."""
    found = container(name)
    program, command, *words = local(found["command"], places)
    assert (program, command) == ("bionemo-ext", "bulk")
    env = dict(zip(environment(found), local(environment(found).values(), places), strict=True))
    if index is not None:
        env["JOB_COMPLETION_INDEX"] = str(index)  # as Kubernetes does
    return start(*words, **env, **variables)


@pytest.mark.server
def test_the_indices_embed_and_the_merge_puts_them_together(out, data):
    few = {"/data/": f"{data}/", "--shards=16": "--shards=3"}
    with LocalServer(out / "triton", threads=1) as server:
        places = few | {SERVICE: server.url}
        running = [run("embed", places, index) for index in range(3)]
        running[1].send_signal(signal.SIGKILL)  # its node is gone
        assert running[1].wait() == -signal.SIGKILL
        for index in (0, 2):
            finish(running[index])
        early = run("merge", few)
        assert "1 of 3 shards are missing" in early.communicate(timeout=60)[1]
        assert early.returncode == 1  # tried again, while a mistake is not
        finish(run("embed", places, 1))
    finish(run("merge", few))
    table = pq.read_table(data / "proteins.parquet")
    assert table["name"].to_pylist() == [f"p{i}" for i in range(COUNT)]
    assert sorted(path.name for path in data.iterdir()) == ["proteins.fasta", "proteins.parquet"]


@pytest.mark.slow
def test_an_index_with_an_encoder_of_its_own(tiny_hf_folder, data):
    places = {
        "/data/runs/esm2-650m": str(tiny_hf_folder), "/data/": f"{data}/",
        "--shards=16": "--shards=2", "--device=cuda": "--device=cpu",
    }  # fmt: skip
    for index in range(2):
        finish(run("embed-gpu", places, index))
    finish(run("merge", places))
    assert pq.read_table(data / "proteins.parquet").num_rows == COUNT
