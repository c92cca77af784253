"""What ranks find in their environment, whoever starts them."""

import os
import signal

import pytest
from running import ONE, SMALL, TENSOR

from bionemo_ext.recipes import pretrain
from bionemo_ext.recipes.ranks import LAUNCHER

NAME = "CUDA_DEVICE_MAX_CONNECTIONS"


@pytest.fixture
def environment(monkeypatch, proteins, tmp_path):
    """``environment(words)``: that in which ``pretrain`` starts its ranks, or trains as one."""

    def start(*_):
        raise SystemExit("a rank begins")

    def run(*words):
        overrides = [*SMALL, f"out={tmp_path / 'run'}", f"data.train={proteins}", *words]
        with pytest.raises(SystemExit, match="a rank begins"):
            pretrain.run(overrides)
        return dict(os.environ)

    monkeypatch.setattr("bionemo_ext.recipes.launch.elastic_launch", start)
    monkeypatch.setattr(pretrain, "_train", start)
    for name in (NAME, LAUNCHER, "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return run


def test_tensor_parallel_ranks_have_one_queue_to_the_device(environment):
    assert environment(*TENSOR)[NAME] == "1"


def test_other_ranks_have_what_cuda_gives(environment):
    assert NAME not in environment(*ONE)


def test_a_rank_of_torchrun_sets_it_itself(environment, monkeypatch):
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert environment(*TENSOR)[NAME] == "1"


def test_what_the_user_has_set_stays(environment, monkeypatch):
    monkeypatch.setenv(NAME, "8")
    assert environment(*TENSOR)[NAME] == "8"
