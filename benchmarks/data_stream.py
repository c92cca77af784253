"""Masked samples a second of one worker from a synthetic store, and its resident memory.

    python benchmarks/data_stream.py --records 10000000

The store is made in a temporary folder (sequences of 100 to 350 residues, clusters of 1 to 9
members: 2.3 GB for 10 million) and read in fresh processes, one for each number of workers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHORTEST, LONGEST, LARGEST_CLUSTER = 100, 350, 9


def make_store(folder: Path, records: int) -> None:
    """Write a store of random sequences, cluster by cluster in a shuffled order."""
    import numpy as np

    from bionemo_ext.data import folder as store
    from bionemo_ext.data.indexed_writer import write_part
    from bionemo_ext.data.uniref.encoded import spans
    from bionemo_ext.sequences import ESM2

    rng = np.random.default_rng(1)
    lengths = rng.integers(SHORTEST, LONGEST, records, dtype=np.int32, endpoint=True)
    blocks = (
        (
            rng.choice(ESM2.standard_ids.astype(np.uint8), lengths[a:b].sum()).tobytes(),
            lengths[a:b],
        )
        for a, b in spans(lengths)
    )
    residues = write_part(folder, store.TRAIN, blocks)
    ends = np.cumsum(rng.integers(1, LARGEST_CLUSTER, records, endpoint=True))
    offsets = np.concatenate(([0], ends[ends < records], [records]))
    for path, array in zip(
        store.table_paths(folder, store.TRAIN), (offsets, rng.permutation(records)), strict=True
    ):
        np.save(path, array)
    counts = {"clusters": len(offsets) - 1, "sequences": records, "residues": residues}
    described = {"alphabet": store.describe_alphabet(ESM2), "sets": {store.TRAIN: counts}}
    store.write_description(folder, described)


def resident_mb(key: str = "VmRSS") -> float:
    """Resident memory of this process now, or at most so far (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return float("nan")


def read(folder: Path, samples: int, batch: int, crop: str) -> None:
    """Read a stream as a worker does, and print the figures as JSON."""
    import numpy as np

    from bionemo_ext.data.cluster_store import ClusterStore
    from bionemo_ext.data.dataset import MaskedDataset
    from bionemo_ext.data.store import Crop

    store = ClusterStore(folder)
    dataset = MaskedDataset(store, 10**12, 1, 1022, Crop(crop))
    dataset.__getitems__(range(10**6, 10**6 + batch))
    before = resident_mb()
    tokens, began, busy = 0, time.perf_counter(), time.process_time()
    for first in range(0, samples, batch):
        tokens += sum(len(s.inputs) for s in dataset.__getitems__(range(first, first + batch)))
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    figures = {
        "clusters": len(store),
        "records": len(store.sequences),
        "samples": samples,
        "samples_per_s": round(samples / seconds),
        "samples_per_cpu_s": round(samples / busy),
        "tokens_per_s": round(tokens / seconds),
        "resident_before_mb": round(before),
        "resident_most_mb": round(resident_mb("VmHWM")),
        "numpy": np.__version__,
    }
    print(json.dumps(figures))


def main() -> None:
    """Make the store, and read it in a process of its own."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--records", type=int, default=10_000_000)
    options.add_argument("--samples", type=int, default=400_000)
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--crop", choices=["start", "random"], default="start")
    options.add_argument("--workers", type=int, default=1, help="processes that read at once")
    options.add_argument("--store", type=Path, help="read this store instead of making one")
    options.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.read:
        read(given.store, given.samples, given.batch, given.crop)
        return
    with tempfile.TemporaryDirectory() as made:
        folder = given.store or Path(made)
        if given.store is None:
            make_store(folder, given.records)
        words = [sys.executable, "-W", "ignore", __file__, "--read", "--store", str(folder)]
        words += ["--samples", str(given.samples), "--batch", str(given.batch)]
        words += ["--crop", given.crop]
        one_core = {**os.environ, "OMP_NUM_THREADS": "1"}
        readers = [subprocess.Popen(words, env=one_core) for _ in range(given.workers)]
        sys.exit(max(reader.wait() for reader in readers))


if __name__ == "__main__":
    main()
