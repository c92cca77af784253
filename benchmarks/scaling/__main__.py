"""How the service scales: where one replica saturates, what a second adds, what a killed one costs.

    python -m benchmarks.scaling --fasta proteins.fasta.gz --json scaling.json --plot scaling.png

Real tritonservers of one thread each, asked over gRPC by the project's client for mean embeddings,
one protein a request; random weights at ESM-2's shape unless ``--export`` names what
``bionemo-ext export`` wrote. In this order:

1. One replica under 1, 2, 4, ... requests at once. It is saturated from the fewest on whose
   residues a second are within 5% of the highest seen; its rate is the median from there on.
2. One replica and two, in turns, each replica under the most requests at once of 1.
3. One replica, requests at random times (Poisson) at shares of its rate: what the autoscaler reads.
4. Two replicas, one of which is killed and comes back: every answer is held to the encoder's own.
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.random_models import SIZES, write_random_esm2
from benchmarks.scaling.experiment import KILL_AT_ONCE, KILL_STEPS, experiment
from benchmarks.scaling.failover import kill_one, offline
from benchmarks.scaling.report import (
    PROTEINS_PER_HOUR,
    Report,
    Thresholds,
    draw,
    replicas_needed,
    summary,
)
from benchmarks.scaling.steps import saturation, speed_ups
from benchmarks.serving import proteins
from bionemo_ext.client.files.pictures import check_picture
from bionemo_ext.contract import HOST, from_pbtxt
from bionemo_ext.errors import BionemoExtError, CheckpointError, InputError
from bionemo_ext.resources import data_path


def main() -> int:
    """Measure, and print; exit code 1 if a request was lost or answered wrongly."""
    options = _arguments()
    try:
        _check(options)
        with tempfile.TemporaryDirectory() as place:
            report = run(options, options.export or _random_export(Path(place), options))
    except BionemoExtError as error:
        print(f"scaling: {error}", file=sys.stderr)
        return error.exit_code
    print(summary(report))
    if options.json:
        options.json.write_text(json.dumps(asdict(report), indent=2) + "\n")
    if options.plot:
        draw(report, options.plot)
    return 1 if report.failover.lost or report.failover.wrong else 0


def run(options: argparse.Namespace, folder: Path) -> Report:
    """Measure everything on what ``bionemo-ext export`` wrote to ``folder``."""
    dtype = _dtype(folder)
    fasta = options.fasta or data_path("uniprot.fasta.gz")
    asked = sorted(proteins(fasta, options.proteins), key=len)
    truth = offline(folder / "huggingface", asked, dtype)
    with experiment(folder / "triton", asked, options.threads, options.seconds) as here:
        one = here.one()
        most = saturation(one)
        turns = here.turns()
        shares = here.shares(most.proteins_per_s, options.seed)
        length = KILL_STEPS * options.seconds
        failover = kill_one(here.servers, asked, truth, KILL_AT_ONCE, length)
    mean = statistics.mean(map(len, asked))
    return Report(
        model=str(options.export or options.model),
        dtype=dtype,
        threads=options.threads,
        proteins=len(asked),
        mean_residues=mean,
        thresholds=Thresholds.of_the_chart(),
        one=one,
        saturation=most,
        turns=turns,
        speed_ups=speed_ups(turns),
        shares=shares,
        failover=failover,
        replicas_for_a_million=replicas_needed(PROTEINS_PER_HOUR, mean, most.residues_per_s),
    )


def _check(options: argparse.Namespace) -> None:
    """Refuse before the work what could not be done, or not be written down."""
    for name in ("proteins", "threads", "seconds"):
        value = getattr(options, name)
        if value <= 0:
            raise InputError(f"--{name} must be above 0, not {value:g}")
    if options.plot:
        check_picture(options.plot, 1)
    if options.json and not options.json.parent.is_dir():
        raise InputError(f"there is no folder {options.json.parent} for {options.json.name}")


def _random_export(place: Path, options: argparse.Namespace) -> Path:
    from bionemo_ext.export import export

    write_random_esm2(place / "encoder", options.model)
    export(place / "encoder", place / "out", dtype=options.dtype)
    return place / "out"


def _dtype(folder: Path) -> str:
    """The precision that an export computes in."""
    config = folder / "triton" / HOST / "config.pbtxt"
    if not config.is_file():
        raise CheckpointError(f"{folder} is not what bionemo-ext export writes: no {config}")
    return from_pbtxt(config.read_text()).parameters["dtype"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fasta", type=Path, help="real proteins; the shipped sample if not given")
    parser.add_argument("--proteins", type=int, default=256, help="so many, of all lengths")
    parser.add_argument("--model", choices=SIZES, default="8m", help="random weights of this shape")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--export", type=Path, help="serve this instead")
    parser.add_argument("--threads", type=int, default=1, help="of each replica")
    parser.add_argument("--seconds", type=float, default=12, help="of a step")
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
