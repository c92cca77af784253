"""The demo: every command a user would type, in their order, then the checks and the page."""

import json
import os
import shutil
import socket
import time
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bionemo_ext.contract import Level
from bionemo_ext.demo.checks import (
    Difference,
    Training,
    check_served,
    check_training,
    compare_served,
    read_training,
)
from bionemo_ext.demo.report import Protein, Story, render
from bionemo_ext.demo.steps import Served, Steps
from bionemo_ext.errors import InputError
from bionemo_ext.resources import data_path
from bionemo_ext.sequences import Record
from bionemo_ext.tasks.reading import read_labelled
from bionemo_ext.whole import whole

_TASKS = ("capsid", "accessibility")
_HOST = "127.0.0.1"
# Says that a folder is a demo's own and may be emptied.
_MARK = ".bionemo-ext-demo"


def run(out: Path, *, keep: bool) -> Path:
    """Run the whole demo.

    Parameters
    ----------
    out : Path
        Folder for everything; emptied first if it is an earlier demo's.
    keep : bool
        Keep an earlier demo's pretraining: go on with it, or use it if it is complete.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    InputError
        If ``out`` holds anything that is not a demo's.
    RunError
        If a step or a check fails.
    """
    _make_folder(out, keep)
    began, steps = time.monotonic(), Steps()
    pretrained, model = out / "pretrain", out / "model"
    tasks = [out / "tasks" / name for name in _TASKS]
    steps.run("pretrain", ["pretrain", "recipe=demo", f"out={pretrained}"])
    training = read_training(pretrained, data_path("uniprot.fasta.gz"))
    check_training(training)
    for folder in tasks:
        words = [f"encoder={pretrained / 'huggingface'}", f"task={folder.name}", f"out={folder}"]
        steps.run(f"fine-tune {folder.name}", ["finetune", *words])
    heads = [word for folder in tasks for word in ("--task", str(folder))]
    source = pretrained / "huggingface"
    steps.run("export", ["export", str(source), "--out", str(model), *heads])
    records, labels = _test_proteins()
    fasta = out / "proteins.fasta"
    fasta.write_text("".join(f">{r.name}\n{r.sequence}\n" for r in records))
    embeddings, answers = _query(steps, model / "triton", fasta, out)
    began_check = time.monotonic()
    differences = compare_served(model / "huggingface", tasks, records, embeddings, answers)
    check_served(differences)
    print(f"\n== served equals offline: {time.monotonic() - began_check:.1f} s", flush=True)
    story = Story(
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        training=training,
        tasks=[json.loads((folder / "result.json").read_text()) for folder in tasks],
        protein=_protein(records, labels, model / "huggingface", answers["accessibility"]),
        differences=differences,
        steps=steps.done,
        sizes=_sizes(model, records, training),
        seconds=time.monotonic() - began,
    )
    _say(training, differences, story)
    return _write(story, out)


def _make_folder(out: Path, keep: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file, the demo needs a folder")
    if out.is_dir() and any(out.iterdir()):
        if not (out / _MARK).exists():
            raise InputError(f"{out} holds something that is not a demo's; name another folder")
        for path in out.iterdir():
            if path.name == _MARK or (keep and path.name == "pretrain"):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).touch()


def _test_proteins() -> tuple[list[Record], dict[str, str]]:
    """Test proteins of both tasks, and the residue labels of those that have them."""
    capsid = read_labelled(data_path("capsid.csv"), level=Level.SEQUENCE).test
    accessibility = read_labelled(data_path("accessibility"), level=Level.RESIDUE).test
    records = [Record(f"capsid_{i:03d}", example.sequence) for i, example in enumerate(capsid, 1)]
    labels = {}
    for example in accessibility:
        name = example.where.rsplit(maxsplit=1)[-1]
        records.append(Record(name, example.sequence))
        labels[name] = example.target
    return records, labels


def _query(steps: Steps, repository: Path, fasta: Path, out: Path) -> tuple[Path, dict[str, Path]]:
    """Serve, embed, predict, stop."""
    embeddings = out / "embeddings.npz"
    answers = {name: out / f"{name}.json" for name in _TASKS}
    grpc, http, metrics = map(str, _free_ports(3))
    ports = ["--grpc-port", grpc, "--http-port", http, "--metrics-port", metrics]
    url = ["--url", f"grpc://{_HOST}:{grpc}"]
    with Served(steps, ["serve", str(repository), *ports]):
        words = ["embed", str(fasta), *url, "--out", str(embeddings), "--residues"]
        steps.run("embed", words)
        for name, path in answers.items():
            words = ["predict", str(fasta), *url, "--task", name, "--out", str(path)]
            steps.run(f"predict {name}", words)
    return embeddings, answers


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:  # all at once, so that they differ
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind((_HOST, 0))
        return [listener.getsockname()[1] for listener in sockets]


def _protein(records: list[Record], labels: dict[str, str], model: Path, answer: Path) -> Protein:
    """The first test protein that is neither tiny nor wide for a screen, with what was served."""
    labelled = [record for record in records if record.name in labels]
    chosen = next((r for r in labelled if 100 <= len(r.sequence) <= 250), labelled[0])
    served = json.loads(answer.read_text())
    column = served["task"]["classes"].index("E")
    entry = next(e for e in served["predictions"] if e["name"] == chosen.name)
    return Protein(
        chosen.name,
        chosen.sequence,
        coupling(model, chosen.sequence),
        np.array(entry["probabilities"])[:, column],
        labels[chosen.name],
    )


def coupling(model: Path, sequence: str) -> np.ndarray:
    """Attention as the contact head reads it, every head counting the same, [L, L].

    The contact head of a model without known structures is all zeros, which would give a map of
    one colour.
    """
    import torch

    from bionemo_ext.huggingface import read_folder
    from bionemo_ext.inference.encoder import Encoder

    config, state = read_folder(model)
    head = "esm.contact_head.regression"
    weight = torch.ones_like(state[f"{head}.weight"])
    state |= {f"{head}.weight": weight, f"{head}.bias": torch.zeros(1)}
    contacts = Encoder(config, state, torch.float32).contacts(sequence)
    return (torch.logit(contacts.double()) / weight.numel()).numpy()


def _sizes(model: Path, records: list[Record], training: Training) -> dict[str, str]:
    weights = (model / "huggingface" / "model.safetensors").stat().st_size
    repository = {p.stat().st_ino: p.stat().st_size for p in (model / "triton").rglob("*")}
    return {
        "parameters of the encoder": f"{weights / 4e6:.2f} million",
        "its Hugging Face folder": f"{weights / 2**20:.1f} MiB",
        "the Triton repository, heads included": f"{sum(repository.values()) / 2**20:.1f} MiB",
        "training tokens": f"{training.tokens:,}",
        "proteins asked about": f"{len(records):,}",
        "their residues": f"{sum(len(record.sequence) for record in records):,}",
        "processor cores": str(os.cpu_count()),
    }


def _say(training: Training, differences: list[Difference], story: Story) -> None:
    print(
        f"loss {training.losses[0]:.3f} -> {training.losses[-1]:.3f}, validation perplexity "
        f"{training.perplexities[-1]:.2f} (residue frequencies alone: {training.unigram:.2f})"
    )
    for task in story.tasks:
        metric = task["metric"]
        print(
            f"{task['task']}: test {metric} {task['test'][metric]:.3f}, one-hot "
            f"{task['one_hot'][metric]:.3f}"
        )
    print(f"largest difference, served to offline: {max(d.largest for d in differences):.1e}")


def _write(story: Story, out: Path) -> Path:
    figures = {
        "seconds": story.seconds,
        "training": asdict(story.training),
        "tasks": story.tasks,
        "differences": [asdict(difference) for difference in story.differences],
        "steps": [asdict(step) for step in story.steps],
    }
    for name, text in (
        ("report.json", json.dumps(figures, indent=1)),
        ("report.html", render(story)),
    ):
        with whole(out / name) as new:
            new.write_text(text)
    return out / "report.html"
