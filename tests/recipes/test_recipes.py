"""The shipped recipes are the published ones, and fit the GPUs that they name."""

import shlex

import pytest

from bionemo_ext.data.store import Crop
from bionemo_ext.recipes import launching
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.plan import composed, plan
from bionemo_ext.recipes.settings import Arithmetic, PretrainSettings, Schedule
from bionemo_ext.resources import resource

# Lin et al. (2023), supplementary A.2, and NVIDIA's cards: parameters, peak and lowest learning
# rate, weight decay, steps, the most tokens a batch, crop.
PUBLISHED = {
    "esm2_8m": (7_512_474, 4e-4, 4e-5, 0.01, 500_000, 2e6, Crop.RANDOM),
    "esm2_35m": (33_501_394, 4e-4, 4e-5, 0.01, 500_000, 2e6, Crop.RANDOM),
    "esm2_150m": (148_140_154, 4e-4, 4e-5, 0.01, 500_000, 2e6, Crop.RANDOM),
    "esm2_650m": (651_043_254, 4e-4, 4e-5, 0.01, 500_000, 2e6, Crop.START),
    "esm2_3b": (2_839_005_634, 4e-4, 4e-5, 0.01, 500_000, 2e6, Crop.START),
    "esm2_15b": (15_129_100_194, 1.6e-4, 1.6e-5, 0.1, 270_000, 3.2e6, Crop.RANDOM),
}
RECIPES = sorted(path.stem for path in (resource("conf") / "recipe").glob("*.yaml"))


def test_there_is_one_for_every_published_model():
    assert sorted([*PUBLISHED, "esm1nv_44m", "esm2_3m", "demo"]) == RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_the_first_line_launches_it(name):
    lines = (resource("conf") / "recipe" / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"  # Hydra's, which must be the first
    program, command, *words = shlex.split(lines[1].removeprefix("# "))
    assert (program, f"recipe={name}" in words) == ("bionemo-ext", True)
    if command == "pretrain":
        settings = compose("pretrain", words, PretrainSettings)
        assert settings.parallel.nodes == 1  # more are not started by pretrain
    else:
        assert command == "launch"
        settings = launching.read(words).run
    assert name == "demo" or settings.model.name == name
    assert settings.out == f"runs/{name}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_esm2_as_published(name):
    count, lr, lowest, decay, steps, tokens, crop = PUBLISHED[name]
    run = composed([f"recipe={name}"])
    optimizer = run.optimizer
    assert plan(run).parameters == count
    assert (optimizer.lr, optimizer.min_lr, optimizer.weight_decay) == (lr, lowest, decay)
    assert (optimizer.betas, optimizer.eps) == ([0.9, 0.98], 1e-8)
    assert (optimizer.schedule, optimizer.warmup_steps) == (Schedule.LINEAR, 2000)
    assert (run.steps, optimizer.decay_steps) == (steps, 450_000)
    assert run.global_batch * 1024 == pytest.approx(tokens, rel=0.05)
    assert (run.data.crop, run.data.max_residues) == (crop, 1022)
    assert run.precision.arithmetic is Arithmetic.BF16


def test_esm1nv_as_published():
    run = composed(["recipe=esm1nv_44m"])
    optimizer = run.optimizer
    # 44M is a rounded figure. Without the vocabulary's padding it is 43.5M, with it 43.6M.
    assert plan(run).parameters == 43_538_718
    assert plan(run).parameters_per_gpu == pytest.approx(44e6, rel=0.01)
    assert (optimizer.lr, optimizer.min_lr, optimizer.weight_decay) == (2e-4, 2e-5, 0.01)
    assert (optimizer.betas, optimizer.clip) == ([0.9, 0.98], 1.0)
    assert (optimizer.schedule, optimizer.warmup_steps) == (Schedule.COSINE, 500)
    assert run.global_batch == 176 * 370
    assert run.steps - optimizer.decay_steps == 50_000
    assert (run.data.max_residues, run.model.max_positions, run.model.dropout) == (512, 514, 0.1)


@pytest.mark.parametrize("name", RECIPES)
def test_it_fits_the_gpus_that_it_names(name):
    found = plan(composed([f"recipe={name}"]), gpu="h100")
    assert found.capacity == 80e9
    assert found.fits
    assert found.suggestion is None
