"""LoRA and full fine-tuning by the real command: any layout, any cut, killed or not."""

import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from running import kill, wait_for
from safetensors.torch import load_file

from bionemo_ext.errors import ConfigError
from bionemo_ext.huggingface import read_adapter, read_config, weights_digest
from bionemo_ext.inference.task import load_task
from bionemo_ext.recipes.runs import newest_checkpoint, read_metrics
from bionemo_ext.resources import data_path
from bionemo_ext.sequences import read_fasta

EPOCHS = 3
TENSOR = ("parallel.devices=2", "parallel.tensor=2")
# Another cut of a batch draws other dropout masks.
EXACT = ("task.head.dropout=0",)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Is the share of leucine over a tenth? 44 short proteins, so that a last batch is not full."""
    folder = tmp_path_factory.mktemp("task")
    short = [r for r in read_fasta(data_path("uniprot.fasta.gz")) if len(r.sequence) < 120][:56]
    rows = ["sequence,target,set,validation"]
    for i, record in enumerate(short):
        rich = record.sequence.count("L") > 0.1 * len(record.sequence)
        part = "test" if i % 7 == 6 else "train"
        rows.append(f"{record.sequence},{'rich' if rich else 'poor'},{part},{i % 7 == 5}")
    (folder / "leucine.csv").write_text("\n".join(rows) + "\n")
    (folder / "leucine.yaml").write_text(
        f"name: leucine\nlevel: sequence\ndata: {folder / 'leucine.csv'}\n"
    )
    return folder / "leucine.yaml"


@pytest.fixture(scope="module")
def command(task, tiny_hf_folder):
    """Words of the command that fine-tunes into ``out``."""

    def words(out, *more):
        own = [
            f"task={task}", f"encoder={tiny_hf_folder}", f"out={out}", "mode=lora",
            f"training.epochs={EPOCHS}", "training.batch=8", "baselines=false", *more,
        ]  # fmt: skip
        return [sys.executable, "-m", "bionemo_ext", "finetune", *own]

    return words


@pytest.fixture(scope="module")
def finetune(command, tmp_path_factory):
    """Fine-tune and give the folder."""

    def run(*more, out=None):
        out = out or tmp_path_factory.mktemp("tuned") / "out"
        done = subprocess.run(command(out, *more), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return out

    return run


@pytest.fixture(scope="module")
def one_rank(finetune):
    return finetune()


def losses(out):
    rows = read_metrics(out)
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    return np.array([(row["loss"], row["val_loss"]) for row in rows])


def predictions(out):
    """What the command predicted for the test proteins."""
    import pyarrow.parquet as pq

    table = pq.read_table(out / "predictions.parquet").to_pydict()
    numbers = [name for name, values in table.items() if isinstance(values[0], float)]
    assert numbers, list(table)
    return np.array([table[name] for name in numbers])


def test_only_adapters_and_head_are_saved(one_rank, tiny_hf_folder):
    config, adapter = read_config(tiny_hf_folder), read_adapter(one_rank / "adapter")
    assert len(adapter.tensors) == 6 * config.layers
    assert (adapter.rank, adapter.scale) == (8, 2.0)
    assert adapter.base_digest == weights_digest(tiny_hf_folder)
    assert all(b.abs().max() > 1e-4 for _, b in adapter.tensors.values()), "a B has not moved"
    assert not (one_rank / "huggingface").exists()
    assert not list(one_rank.glob("*checkpoints*"))
    assert not list(one_rank.glob(".*"))
    weights = sum(path.stat().st_size for path in one_rank.rglob("*.safetensors"))
    numbers = sum(a.numel() + b.numel() for a, b in adapter.tensors.values())
    numbers += sum(tensor.numel() for tensor in load_file(one_rank / "head.safetensors").values())
    assert weights < 4 * numbers + 10_000
    spec, _ = load_task(one_rank)
    assert spec.encoder_digest == adapter.base_digest


def test_training_lowers_the_loss_and_a_row_tells_it(one_rank):
    found = losses(one_rank)
    assert found[-1, 1] < found[0, 1]
    wanted = {"epoch", "step", "loss", "val_loss", "lr", "seconds", "residues_per_s"}
    assert read_metrics(one_rank)[0].keys() == wanted


def test_two_tensor_parallel_ranks_give_the_same(one_rank, finetune):
    two = finetune(*TENSOR)
    np.testing.assert_allclose(losses(two), losses(one_rank), rtol=0, atol=1e-5)
    np.testing.assert_allclose(predictions(two), predictions(one_rank), rtol=0, atol=1e-4)


def test_merged_and_unmerged_predict_the_same(one_rank, task, tiny_hf_folder, tmp_path):
    from bionemo_ext.inference.encoder import Encoder
    from bionemo_ext.inference.task import predict
    from bionemo_ext.recipes.conversion import Form, convert

    convert(tiny_hf_folder, tmp_path / "merged", Form.HUGGINGFACE, adapter=one_rank)
    lines = task.with_suffix(".csv").read_text().splitlines()
    test = [line.split(",")[0] for line in lines if ",test," in line]
    spec, head = load_task(one_rank)

    def predicted(folder):
        encoder = Encoder.load(folder)
        return np.array([predict(head, spec, encoder.encode([s]))[0] for s in test]).T

    merged, unmerged = predicted(tmp_path / "merged"), predictions(one_rank)
    np.testing.assert_allclose(merged, unmerged, rtol=0, atol=1e-5)
    assert merged.std(1).max() > 1e-3, "the predictions are too alike to show an error"
    assert np.abs(predicted(tiny_hf_folder) - merged).max() > 1e-3, "the adapter does nothing"


def test_a_killed_run_resumes_to_the_same_losses(one_rank, command, finetune, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(out), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    wait_for(lambda: newest_checkpoint(out) is not None)
    assert kill(process) == []
    assert not (out / "task.json").exists()
    finetune(out=out)
    np.testing.assert_array_equal(losses(out), losses(one_rank))
    for name in ("head.safetensors", "adapter/adapter_model.safetensors"):
        ours, theirs = load_file(out / name), load_file(one_rank / name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name


@pytest.mark.slow
def test_pieces_and_recomputed_layers_give_the_same(finetune):
    plain = finetune(*EXACT)
    pieces = finetune(*EXACT, "training.micro_batch=2", "recompute=full")
    np.testing.assert_allclose(losses(pieces), losses(plain), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [TENSOR, (*TENSOR, "parallel.sequence=true"), ("parallel.devices=2",)],
    ids=["tensor", "sequence", "data"],
)
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_every_layout_gives_the_same(finetune, mode, layout):
    one = finetune(*EXACT, f"mode={mode}")
    two = finetune(*EXACT, f"mode={mode}", *layout)
    np.testing.assert_allclose(losses(two), losses(one), rtol=0, atol=1e-5)
    np.testing.assert_allclose(predictions(two), predictions(one), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_full_fine_tuning_in_pieces_gives_the_same(finetune, recompute):
    plain = finetune(*EXACT, "mode=full")
    pieces = finetune(*EXACT, "mode=full", "training.micro_batch=2", f"recompute={recompute}")
    np.testing.assert_allclose(losses(pieces), losses(plain), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("arithmetic", ["bf16", "fp16"])
def test_half_precision_gives_nearly_the_same(finetune, mode, arithmetic):
    half = finetune(*EXACT, f"mode={mode}", f"precision.arithmetic={arithmetic}")
    single = finetune(*EXACT, f"mode={mode}")
    np.testing.assert_allclose(losses(half), losses(single), rtol=0, atol=0.01)


@pytest.mark.slow
def test_full_fine_tuning_saves_the_whole_model(finetune, tiny_hf_folder):
    out = finetune("mode=full")
    spec, _ = load_task(out)
    assert spec.encoder_digest == weights_digest(out / "huggingface")
    before, after = (
        load_file(folder / "model.safetensors") for folder in (tiny_hf_folder, out / "huggingface")
    )
    assert before.keys() == after.keys()
    for name in before:
        still = any(part in name for part in ("lm_head", "contact_head", "inv_freq"))
        assert torch.equal(before[name], after[name]) == still, name


@pytest.mark.slow
def test_a_run_that_is_told_to_end_goes_on_from_its_last_epoch(command, finetune, tmp_path):
    out, words = tmp_path / "out", ("mode=full", *TENSOR)
    process = subprocess.Popen(command(out, *words), stdout=subprocess.PIPE, text=True)
    wait_for(lambda: newest_checkpoint(out) is not None)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert not (out / "task.json").exists()
    finetune(*words, out=out)
    np.testing.assert_array_equal(losses(out), losses(finetune(*words)))


@pytest.mark.slow
def test_another_run_is_not_gone_on_with(command, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(command(out), start_new_session=True)
    wait_for(lambda: newest_checkpoint(out) is not None)
    kill(process)
    changed = subprocess.run(command(out, "seed=1"), capture_output=True, text=True, timeout=120)
    assert changed.returncode == 2
    assert "holds a run with another seed" in changed.stderr
    assert "Traceback" not in changed.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("parallel.devices=2", "parallel.pipeline=2"), "no pipeline stages"),
        ((*TENSOR, "lora.rank=3"), "does not divide lora.rank 3"),
        (("lora.targets=[query]",), "linear_qkv"),
        (("parallel.devices=2", "training.batch=7"), "training.batch 7 is not a multiple"),
    ],
)
def test_what_cannot_be_is_one_sentence(command, tmp_path, words, told):
    from bionemo_ext.recipes.finetune.run import run

    with pytest.raises(ConfigError, match=told):
        run(command(tmp_path / "out", *words)[4:])
    assert not (tmp_path / "out").exists()
