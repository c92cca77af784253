"""The real pretraining command on a small model, and what its run's folder says afterwards."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from bionemo_ext.recipes.runs import read_metrics

STEPS = 20
SMALL = [
    "recipe=demo", "model.name=tiny", "model.layers=2", "model.hidden=64", "model.heads=4",
    "data.max_residues=100", f"steps={STEPS}", "micro_batch=2", "global_batch=8",
    "validate_every=5", "checkpoint_every=5", "optimizer.warmup_steps=2",
]  # fmt: skip
ONE = ("parallel=single",)
TWO = ("parallel=single", "parallel.devices=2")
TENSOR = (*TWO, "parallel.tensor=2")
PIPELINE = (*TWO, "parallel.pipeline=2")
SEQUENCE = (*TENSOR, "parallel.sequence=true")


def command(out, proteins, *words):
    overrides = [*SMALL, f"out={out}", f"data.train={proteins}", *words]
    return [sys.executable, "-m", "bionemo_ext", "pretrain", *overrides]


def pretrain(out, proteins, *words):
    done = subprocess.run(
        command(out, proteins, *words), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def start(out, proteins, *words):
    return subprocess.Popen(
        command(out, proteins, *words),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come to that in time")


def kill(process):
    """Kill a launcher; give what it and its ranks had started and is still there."""
    ranks = children(process.pid)
    helpers = [pid for rank in ranks for pid in descendants(rank)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    return [pid for pid in ranks + helpers if not gone(pid)]


def losses(run):
    return np.array([row["loss"] for row in read_metrics(run) if "loss" in row])


def tokens(run):
    return np.array([row["tokens"] for row in read_metrics(run) if "tokens" in row])


def validations(run):
    return [(row["step"], row["val_loss"]) for row in read_metrics(run) if "val_loss" in row]


def weights_equal(run, other, atol):
    ours, theirs = (
        load_file(folder / "huggingface" / "model.safetensors") for folder in (run, other)
    )
    assert ours.keys() == theirs.keys()
    return all(torch.allclose(ours[k], theirs[k], rtol=0, atol=atol) for k in ours)


def children(pid):
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(pid) for pid in text.split()]


def descendants(pid):
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def gone(pid):
    for _ in range(100):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
