"""What three tasks in one request cost beside one of them, through the real server.

    python -m benchmarks.tasks_at_once
    python -m benchmarks.tasks_at_once --encoder runs/esm2_3m --task runs/fold --task runs/gb1

By default an encoder of random weights at ESM-2 8M's shape with random heads of FLIP's shapes, on
proteins of the demo. Requests for one task and for all take turns; every answer is held to the
offline prediction.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.random_models import write_random_esm2
from bionemo_ext.client import Client
from bionemo_ext.contract import HOST, Kind, Level
from bionemo_ext.export import export
from bionemo_ext.huggingface import weights_digest
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import open_task
from bionemo_ext.inference.task import Head, HeadKind, TaskSpec, load_task, save_task
from bionemo_ext.resources import data_path
from bionemo_ext.sequences import read_fasta
from bionemo_ext.serving import LocalServer

CONSERVATION = tuple("123456789")
SPECS = (
    TaskSpec(
        "secondary_structure", Level.RESIDUE, Kind.CLASSIFICATION, tuple("CEH"),
        HeadKind.CONVOLUTION, 320, 32,
    ),
    TaskSpec(
        "conservation", Level.RESIDUE, Kind.CLASSIFICATION, CONSERVATION,
        HeadKind.CONVOLUTION, 320, 32,
    ),
    TaskSpec("gb1", Level.SEQUENCE, Kind.REGRESSION, (), HeadKind.MLP, 320, 256),
)  # fmt: skip


def random_model(folder: Path) -> tuple[Path, list[Path]]:
    """An encoder of 8M parameters and three heads, of random weights."""
    write_random_esm2(folder / "encoder", "8m")
    digest = weights_digest(folder / "encoder")
    for spec in SPECS:
        save_task(folder / spec.name, replace(spec, encoder_digest=digest), Head(spec).eval())
    return folder / "encoder", [folder / spec.name for spec in SPECS]


def seconds(client: Client, sequences: list[str], tasks: list[str]) -> float:
    """Wall-clock time of predictions, by the encoder's endpoint."""
    began = time.perf_counter()
    for _ in client.stream(sequences, tuple(tasks), HOST):
        pass
    return time.perf_counter() - began


def largest_error(
    client: Client, encoder: Path, folders: list[Path], sequences: list[str]
) -> float:
    """Largest difference between what is served, all tasks at once, and what is offline."""
    base, found = Encoder.load(encoder), 0.0
    served = client.predict(sequences, [load_task(folder)[0].name for folder in folders])
    for folder in folders:
        task = open_task(folder, base)
        for indices, arrays in task.predict(sequences):
            for index, array in zip(indices, arrays, strict=True):
                values = served[task.spec.name][index].values
                found = max(found, float(np.abs(values - array).max()))
    return found


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", type=Path, help="Hugging Face folder; random if not given")
    parser.add_argument("--task", type=Path, action="append", help="task folder on the encoder")
    parser.add_argument("--proteins", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    records = list(read_fasta(data_path("uniprot.fasta.gz")))[: options.proteins]
    sequences = [record.sequence[:1022] for record in records]
    with tempfile.TemporaryDirectory() as place:
        encoder, folders = options.encoder, options.task
        if encoder is None:
            encoder, folders = random_model(Path(place))
        endpoints = export(encoder, Path(place, "out"), folders)
        tasks = [endpoint.name for endpoint in endpoints if endpoint.task is not None]
        requests = {"all": tasks} | {name: [name] for name in tasks}
        times: dict[str, list[float]] = {name: [] for name in requests}
        with (
            LocalServer(Path(place, "out", "triton"), threads=options.threads) as server,
            Client(server.url) as client,
        ):
            for _ in range(options.rounds + 1):  # the first round warms up
                for name, outputs in requests.items():
                    times[name].append(seconds(client, sequences, outputs))
            error = largest_error(client, Path(place, "out", "huggingface"), folders, sequences)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    ratios = {name: medians["all"] / medians[name] for name in tasks}
    report = {
        "proteins": len(sequences),
        "residues": sum(map(len, sequences)),
        "seconds": medians,
        "all_to_one": ratios,
        "largest_error_to_offline": error,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
