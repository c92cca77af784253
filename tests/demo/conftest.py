"""A demo's folder without its minutes: real formats, a tiny random encoder, answers of its own."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bionemo_ext.client import Prediction, Result
from bionemo_ext.client.files.embeddings import write_embeddings
from bionemo_ext.client.files.predictions import prediction_file
from bionemo_ext.contract import Kind, Level, TaskInfo
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.task import Head, HeadKind, TaskSpec, predict, save_task
from bionemo_ext.sequences import Record

RECORDS = [
    Record("first", "MKTVRQGLLAEWDSCYHNPFIKMKTVRQGAEELLKDNPST"),
    Record("second", "GSHMASMTGGQQMGRDPNSSSLLKKVVAAEEDDWWYYFFPPCCHH"),
    Record("third", "MADEEKLPPGWEKRMSRSSGRVYYFNHITNASQWERPSGNSSSGG"),
]
SPECS = [
    TaskSpec(
        "capsid", Level.SEQUENCE, Kind.CLASSIFICATION, ("capsid", "other"), HeadKind.MLP, 64, 16
    ),
    TaskSpec(
        "accessibility", Level.RESIDUE, Kind.CLASSIFICATION, ("B", "E"), HeadKind.CONVOLUTION, 64, 8
    ),
]


@dataclass(frozen=True)
class Recorded:
    """What a demo leaves: the exported model, tasks, and what the server answered."""

    model: Path
    tasks: list[Path]
    records: list[Record]
    embeddings: Path
    answers: dict[str, Path]


@pytest.fixture
def recorded(tmp_path, tiny_hf_folder):
    encoder = Encoder.load(tiny_hf_folder)
    # All in one batch, as the server would, while the check takes one at a time.
    encoded = encoder.encode([record.sequence for record in RECORDS])
    results = [
        Result(r.name, r.sequence, len(r.sequence), 1, {"mean": m.numpy(), "residues": x.numpy()})
        for r, m, x in zip(RECORDS, encoded.mean(), encoded.residues(), strict=True)
    ]
    write_embeddings(tmp_path / "embeddings.npz", results, "mean")
    answers = {}
    torch.manual_seed(1)
    for spec in SPECS:
        head = Head(spec).eval()
        save_task(tmp_path / spec.name, spec, head)
        info = TaskInfo(spec.name, spec.level, spec.kind, spec.classes)
        values = predict(head, spec, encoded)
        answers[spec.name] = tmp_path / f"{spec.name}.json"
        with prediction_file(answers[spec.name], info) as write:
            for record, value in zip(RECORDS, values, strict=True):
                write(Prediction(record.name, record.sequence, info, value))
    tasks = [tmp_path / spec.name for spec in SPECS]
    return Recorded(tiny_hf_folder, tasks, RECORDS, tmp_path / "embeddings.npz", answers)


@pytest.fixture
def pretraining_run(tmp_path):
    """Write a run's ``metrics.jsonl`` for given losses and perplexities."""

    def write(losses, perplexities):
        rows = [
            {"step": step, "loss": loss, "lr": 1e-3, "tokens": 100 * step, "seconds": 0.1 * step}
            for step, loss in enumerate(losses, 1)
        ]
        rows += [
            {"step": step, "val_loss": 2.7, "val_perplexity": value, "seconds": 9.0}
            for step, value in enumerate(perplexities, 1)
        ]
        run = tmp_path / "run"
        run.mkdir(exist_ok=True)
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return run

    return write
