"""How fast UniRef FASTA becomes a store on one core, and with how much memory.

    python benchmarks/data_build.py --megabytes 2000

Random proteins with UniProt's headers, in clusters of 1 to 9, are written to a temporary folder
and built with ``--search none``: the search is MMseqs2's time, not this program's. The rate counts
uncompressed FASTA, both files; the time is that of everything: reading, joining, splitting and
writing to the disk.
"""

import argparse
import gzip
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

LETTERS = np.frombuffer(b"LAGVSERTIDPKQNFYMHWC", np.uint8)
LINE = 60
HEADER = (
    "UniRef{level}_{name} Uncharacterized protein n={n} Tax=Bacteria TaxID=2 RepID={name}_9BACT"
)


def _open(path: Path) -> BinaryIO:
    return gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb")


def write_inputs(folder: Path, megabytes: int, compress: bool) -> tuple[Path, Path, Path]:
    """Write UniRef50, UniRef90 and the table of members."""
    ending = ".fasta.gz" if compress else ".fasta"
    paths = folder / f"uniref50{ending}", folder / f"uniref90{ending}", folder / "members.tsv"
    rng, written, number = np.random.default_rng(1), 0, 0
    with _open(paths[0]) as u50, _open(paths[1]) as u90, paths[2].open("wb") as table:
        while written < megabytes * 1e6:
            cluster = f"A0A{number:09d}"
            for member in range(int(rng.integers(1, 9, endpoint=True))):
                name = f"A0A{number:09d}"
                number += 1
                residues = LETTERS[rng.integers(0, 20, int(rng.gamma(2.2, 155)) + 11)].tobytes()
                text = b"\n".join(residues[i : i + LINE] for i in range(0, len(residues), LINE))
                for file, level in ((u90, 90), (u50, 50))[: 2 if member == 0 else 1]:
                    header = HEADER.format(level=level, name=name, n=member + 1)
                    written += file.write(b">%b\n%b\n" % (header.encode(), text))
                table.write(f"UniRef50_{cluster}\tUniRef90_{name}\n".encode())
    return paths


def main() -> None:
    """Write the inputs, build, and print the figures as JSON."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--megabytes", type=int, default=1000, help="uncompressed FASTA")
    options.add_argument("--gzip", action="store_true", help="compressed inputs, as downloaded")
    given = options.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    from bionemo_ext.data.uniref.build import Search, UniRefOptions, build_uniref

    with tempfile.TemporaryDirectory() as made:
        inputs = write_inputs(Path(made), given.megabytes, given.gzip)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, cpu = time.perf_counter(), time.process_time()
        described = build_uniref(UniRefOptions(*inputs, Path(made) / "store", search=Search.NONE))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    counts = described["counts"]
    size = counts["uniref50"]["fasta_bytes"] + counts["uniref90"]["fasta_bytes"]
    figures = {
        "fasta_mb": round(size / 1e6, 1),
        "records": counts["uniref50"]["records"] + counts["uniref90"]["records"],
        "seconds": round(wall, 2),
        "mb_per_s": round(size / 1e6 / wall, 1),
        "mb_per_cpu_s": round(size / 1e6 / cpu, 1),
        "resident_mb_before": round(before / 1024),
        "resident_mb_most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
