"""Measure on a GPU what has to be shown there.

    python -m benchmarks.gpu all --out DIR
    python -m benchmarks.gpu parity train --out DIR --minutes 9

A call that finds results in DIR goes on where they end. ``--dry-run`` runs the same code with tiny
models on the CPU.
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks.gpu.options import PLANS, SHARES, Options, shipped_proteins


def main() -> int:
    """Read the command line and measure."""
    given = _arguments()
    dry = given.dry_run
    deadline, _, spent = (given.worker or "").partition(":")
    options = Options(
        parts=tuple(p for p in SHARES if p in given.parts or "all" in given.parts),
        out=given.out,
        mirror=given.mirror,
        device="cpu" if dry else given.device,
        plan=PLANS["tiny" if dry else given.size],
        fasta=given.fasta or shipped_proteins(),
        minutes=given.minutes,
        deadline=float(deadline) if deadline else time.time() + 60 * given.minutes,
        again=given.again,
        pretrain_steps=given.pretrain_steps,
        profile=given.profile,
    )
    if given.worker:
        from benchmarks.gpu.worker import work

        parts = (pair.split("=") for pair in spent.split(",") if pair)
        return work(options, {part: float(s) for part, s in parts})
    from benchmarks.gpu.results import TABLES
    from benchmarks.gpu.supervisor import supervise

    code = supervise(options, sys.argv[1:])
    tables = options.out / TABLES
    if tables.is_file():
        print(tables.read_text())
    return code


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("parts", nargs="+", choices=["all", *SHARES])
    options.add_argument("--out", type=Path, required=True, help="folder of the figures")
    options.add_argument("--mirror", type=Path, help="a second folder that gets them too")
    options.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options.add_argument("--size", choices=list(PLANS), default="full")
    options.add_argument("--dry-run", action="store_true", help="--device cpu --size tiny")
    options.add_argument("--fasta", type=Path, help="proteins (default: the shipped sample)")
    options.add_argument("--minutes", type=float, default=9.0, help="for all parts together")
    options.add_argument("--again", action="store_true", help="run failed cases once more")
    options.add_argument("--pretrain-steps", type=int, help="instead of the time that is left")
    options.add_argument("--profile", action="store_true", help="profile a step of each case")
    options.add_argument("--worker", help=argparse.SUPPRESS)
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
