"""Pretraining the smallest model for the time that is left, and keeping its weights.

The recipe is esm2_8m's (Lin et al., 2023: Adam, 15% masking, random crops), with a smaller batch, a
shorter warm-up, and a learning rate that falls to a tenth by the end of the time given. The weights
are a Hugging Face folder in bf16; the optimizer's state beside the results lets a later call on the
same machine go on.
"""

import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from math import exp
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from benchmarks.gpu import batches, models
from benchmarks.gpu.batches import Batch
from benchmarks.gpu.machine import engine_here, free
from benchmarks.gpu.models import BF16
from benchmarks.gpu.options import Case, Cases, Figures, Options
from benchmarks.gpu.results import PROGRESS, Results
from benchmarks.gpu.stepping import Stepper
from bionemo_ext.data.batches import pack
from bionemo_ext.data.dataset import MaskedDataset
from bionemo_ext.data.opening import open_data
from bionemo_ext.data.store import Crop
from bionemo_ext.models.folder import write_folder
from bionemo_ext.sequences import ESM2

PEAK, FLOOR, WARM_UP = 4e-4, 4e-5, 200
SAVE_EVERY_S = 45.0
SEED, VALIDATION = 42, 0.02
_WORKERS, _MULTIPLE = 8, 128
STATE = "pretrain_state.pt"


def cases(options: Options, device: torch.device, results: Results) -> Cases:
    """A single case, which a later call takes up where it was cut off."""
    key = f"pretrain/{options.plan.pretrain}"
    yield Case(key, partial(_pretrain, options, device, results, key))


def _pretrain(options: Options, device: torch.device, results: Results, key: str) -> Figures:
    free(device)
    plan, engine = options.plan, engine_here(device)
    layers = "transformer_engine" if engine else "local"
    stepper = Stepper(models.build(plan.pretrain, BF16, layers, device), PEAK)
    run = _Run(options, device, results, key, stepper)
    run.resume()
    return run.train()


class _Run:
    """The state of a run: its step, the samples seen, the seconds spent."""

    def __init__(
        self, options: Options, device: torch.device, results: Results, key: str, stepper: Stepper
    ) -> None:
        self.options, self.device, self.results, self.key = options, device, results, key
        self.stepper = stepper
        self.step, self.samples, self.tokens, self.seconds = 0, 0, 0, 0.0
        train, validation = open_data(options.fasta, fraction=VALIDATION, seed=SEED)
        cut = options.plan.length - 2
        self.training = MaskedDataset(train, 10**9, SEED, cut, Crop.RANDOM)
        self.validation = MaskedDataset(validation, len(validation), SEED, cut, fixed=True)

    @property
    def _state(self) -> Path:
        return self.options.out / STATE

    def resume(self) -> None:
        """Go on from the state of an earlier call, if there is one."""
        if self._state.is_file():
            state = torch.load(self._state, map_location=self.device, weights_only=False)
            self.stepper.load_state(state)
            for name in ("step", "samples", "tokens", "seconds"):
                setattr(self, name, state[name])

    def save(self) -> None:
        """Write the state and the weights, each whole or not at all."""
        counts = {n: getattr(self, n) for n in ("step", "samples", "tokens", "seconds")}
        partial_file = self._state.with_suffix(".partial")
        torch.save(self.stepper.state() | counts, partial_file)
        partial_file.replace(self._state)
        model = self.stepper.model
        weights = {n: w.bfloat16().cpu() for n, w in models.weights(model).items()}
        for folder in self.results.folders:
            write_folder(folder / self.options.plan.pretrain, model.architecture, weights)

    def train(self) -> Figures:
        """Train until the time or the steps are over."""
        began = last = time.monotonic()
        spent, given = self.seconds, max(1.0, self.options.deadline - time.time())
        first, tokens_before = self.step, self.tokens
        size = self.options.plan.pretrain_proteins
        losses: list[torch.Tensor] = []
        for batch in self._batches():
            self.stepper.set_lr(self._rate(given + spent))
            losses.append(self.stepper.step([batch]))
            self.step, self.samples = self.step + 1, self.samples + size
            self.tokens += batch.tokens
            now = time.monotonic()
            self.seconds = spent + now - began
            if self._over(first, now - began, given):
                break
            if now - last > SAVE_EVERY_S:
                last = now
                self.save()
                self.results.write(self.key, PROGRESS, **self._figures(losses))
                losses.clear()
        seconds = time.monotonic() - began
        self.save()
        rate = (self.tokens - tokens_before) / seconds
        return self._figures(losses) | {"tokens_per_s": rate}

    def _over(self, first: int, spent: float, given: float) -> bool:
        steps = self.options.pretrain_steps
        return spent > given if steps is None else self.step - first >= steps

    def _rate(self, total: float) -> float:
        share = min(1.0, self.seconds / total)
        return min(1.0, (self.step + 1) / WARM_UP) * (PEAK - (PEAK - FLOOR) * share)

    def _batches(self) -> Iterator[Batch]:
        """Packed batches from the sample that the run stands at."""
        size = self.options.plan.pretrain_proteins
        loader = DataLoader(
            self.training,
            batch_sampler=(range(i, i + size) for i in count(self.samples, size)),
            collate_fn=partial(pack, pad_id=ESM2.pad_id, multiple=_MULTIPLE),
            num_workers=_WORKERS if self.device.type == "cuda" else 0,
        )
        for tensors in loader:
            yield batches.on_device(tensors, self.device)

    @torch.no_grad()
    def _validate(self) -> float:
        """Mean loss of the chosen tokens of the validation proteins."""
        model = self.stepper.model.eval()
        total, chosen = 0.0, 0.0
        for first in range(0, len(self.validation), 64):
            indices = range(first, min(first + 64, len(self.validation)))
            samples = self.validation.__getitems__(indices)
            batch = batches.on_device(pack(samples, ESM2.pad_id, _MULTIPLE), self.device)
            number = float(batch.tensors["loss_mask"].sum())
            total += float(batches.mean_loss(model, batch)) * number
            chosen += number
        model.train()
        return total / chosen

    def _figures(self, losses: list[torch.Tensor]) -> Figures:
        validation = self._validate()
        return {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 1),
            "loss": float(torch.stack(losses[-50:]).mean()),
            "validation_loss": validation,
            "validation_perplexity": exp(validation),
            "batch_proteins": self.options.plan.pretrain_proteins,
        }
