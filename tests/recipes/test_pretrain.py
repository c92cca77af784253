"""What a run trains: its losses are the model's own, in every kind of model and arithmetic."""

import numpy as np
import pytest
import torch
import yaml
from running import ONE, STEPS, losses, pretrain, validations, weights_equal

from bionemo_ext.data.batches import collate
from bionemo_ext.data.dataset import MaskedDataset
from bionemo_ext.data.store import SequenceStore
from bionemo_ext.recipes.runs import read_metrics
from bionemo_ext.sequences import ESM2

ESM1NV = ("model=esm1nv_44m", "model.layers=2", "model.hidden=64", "model.heads=4", "model.ffn=96")


def test_the_exported_model_has_the_reported_validation_loss(one_rank, proteins):
    from transformers import EsmForMaskedLM

    model = EsmForMaskedLM.from_pretrained(one_rank / "huggingface").eval()
    settings = yaml.safe_load((one_rank / "run.yaml").read_text())
    store = SequenceStore.from_fasta(proteins)
    _, validation = store.split(settings["data"]["validation_fraction"], settings["seed"])
    samples = MaskedDataset(validation, len(validation), settings["seed"], 100, fixed=True)
    batch = collate([samples[i] for i in range(len(samples))], ESM2.pad_id)
    with torch.no_grad():
        logits = model(batch["tokens"], batch["attention_mask"]).logits
    chosen = batch["loss_mask"].bool()
    loss = torch.nn.functional.cross_entropy(logits[chosen], batch["labels"][chosen])
    reported = [loss for _, loss in validations(one_rank)]
    assert len(reported) == STEPS // 5
    assert float(loss) == pytest.approx(reported[-1], abs=1e-4)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("bf16", 5e-3), pytest.param("fp16", 2e-3, marks=pytest.mark.slow)]
)
def test_lower_precision_stays_near_fp32(tmp_path, proteins, one_rank, precision, tolerance):
    run = tmp_path / "run"
    pretrain(run, proteins, *ONE, f"precision={precision}", "steps=5")
    found, expected = losses(run), losses(one_rank)[:5]
    assert (found != expected).any()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_esm1nv_learns_and_its_dropout_resumes(tmp_path, proteins):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    pretrain(whole, proteins, *ONE, *ESM1NV)
    pretrain(resumed, proteins, *ONE, *ESM1NV, "steps=10")
    pretrain(resumed, proteins, *ONE, *ESM1NV)
    np.testing.assert_array_equal(losses(resumed), losses(whole))
    assert weights_equal(resumed, whole, atol=0)
    assert losses(whole)[-1] < losses(whole)[0] - 0.2


def test_a_run_begins_from_given_weights(tmp_path, proteins, one_rank):
    run = tmp_path / "run"
    start = f"init={one_rank / 'huggingface'}"
    pretrain(run, proteins, *ONE, start, "steps=1", "logging.tensorboard=true")
    first = losses(run)[0]
    assert first == pytest.approx(losses(one_rank)[-1], abs=0.15)
    assert first < losses(one_rank)[0] - 0.2
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    assert read_metrics(run)[0]["tokens"] > 0
