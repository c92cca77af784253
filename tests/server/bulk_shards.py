"""``bionemo-ext bulk`` in the background, and its output held to that of ``embed``."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq


def start(*words, command="bulk", **variables):
    """Start ``bionemo-ext bulk``; output is captured. A variable that is None is taken away."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "bionemo_ext", command, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in env.items() if value is not None},
        cwd=Path(__file__).parents[2],
    )


def finish(process, within_s=120):
    """Wait for a good end; gives the JSON summary, if one is printed."""
    printed, said = process.communicate(timeout=within_s)
    assert process.returncode == 0, said
    return json.loads(printed) if printed.startswith("{") else printed


def same_as_embed(out, alone, names):
    """Every protein once, in the order of the file, for pandas and pyarrow, with its numbers."""
    table, expected = pq.read_table(out), pq.read_table(alone)
    assert table.schema.equals(expected.schema)
    assert table["name"].to_pylist() == expected["name"].to_pylist() == names
    for column in ("length", "embedded", "windows"):
        assert table[column].equals(expected[column])
    found, wanted = (
        np.stack(pd.read_parquet(path)["embedding"].to_numpy()) for path in (out, alone)
    )
    assert found.dtype == np.float32
    # Packed with other neighbours, sums may round differently.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def worker_of(process, index, within_s=30):
    """The process that computes a shard, once there is one."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children():
            with suppress(psutil.Error):
                words = child.cmdline()
                if "--index" in words and words[words.index("--index") + 1] == str(index):
                    return child
        time.sleep(0.01)
    raise AssertionError(f"no worker of shard {index} in {within_s} s")
