"""What a pretraining run is refused for before anything is started or written."""

from importlib.util import find_spec
from pathlib import Path

from bionemo_ext.data.folder import is_store
from bionemo_ext.data.opening import check_data
from bionemo_ext.data.store import fasta_files
from bionemo_ext.errors import ConfigError
from bionemo_ext.recipes.settings import (
    Arithmetic,
    Family,
    Fp8,
    Implementation,
    ModelSettings,
    PretrainSettings,
)
from bionemo_ext.resources import data_path


def check(settings: PretrainSettings, *, launched: bool = False) -> None:
    """Refuse settings that do not go together.

    Parameters
    ----------
    settings : PretrainSettings
        The run.
    launched : bool
        Whether somebody else has started the ranks, so that several nodes are theirs to start.

    Raises
    ------
    ConfigError
        Names the keys that do not go together.
    DataError
        If there is no such training or validation data, or a store of another alphabet.
    """
    _check_model(settings.model)
    _check_precision(settings)
    check_ranks(settings, launched)
    if settings.data.max_residues + 2 > settings.model.max_positions:
        raise ConfigError(
            f"data.max_residues {settings.data.max_residues} with <cls> and <eos> is over "
            f"model.max_positions {settings.model.max_positions}"
        )
    betas = settings.optimizer.betas
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"optimizer.betas is {betas}, but two numbers from 0 to 1 are needed")
    check_sources(settings)


def check_sources(settings: PretrainSettings, base: Path = Path()) -> None:
    """Refuse a run whose data, or whose weights to begin from, are not there.

    Parameters
    ----------
    settings : PretrainSettings
        The run.
    base : Path
        Where relative paths begin.

    Raises
    ------
    CheckpointError
        If ``init`` is no model.
    DataError
        If there is no such training or validation data, or a store of another alphabet.
    """
    for source in filter(None, (settings.data.train, settings.data.validation)):
        whole = base / source
        path = whole if whole.exists() else data_path(source)
        check_data(path, settings.model.architecture().alphabet)
        if not is_store(path):
            fasta_files(path)
    if settings.init:
        from bionemo_ext.recipes.conversion import recognise  # it imports Megatron

        whole = base / settings.init
        recognise(whole if whole.exists() else settings.init)


def _check_model(model: ModelSettings) -> None:
    engine = model.implementation is Implementation.TRANSFORMER_ENGINE
    if engine and find_spec("transformer_engine") is None:
        raise ConfigError(
            "model.implementation=transformer_engine needs the package transformer-engine, which "
            "is for NVIDIA GPUs; local runs everywhere"
        )
    if model.hidden % model.heads:
        raise ConfigError(
            f"model.hidden {model.hidden} is not a multiple of model.heads {model.heads}"
        )
    if model.dropout and model.family is Family.ESM2:
        raise ConfigError(f"model.dropout is {model.dropout}, but ESM-2 has no dropout")


def _check_precision(settings: PretrainSettings) -> None:
    precision = settings.precision
    if precision.fp8 is Fp8.OFF:
        return
    if precision.arithmetic is not Arithmetic.BF16:
        raise ConfigError(
            f"precision.fp8={precision.fp8.value} goes with precision.arithmetic=bf16, not with "
            f"{precision.arithmetic.value}"
        )
    if settings.model.implementation is Implementation.LOCAL:
        raise ConfigError(
            f"precision.fp8={precision.fp8.value} needs TransformerEngine's layers, but "
            "model.implementation is local"
        )
    if find_spec("transformer_engine") is None:
        raise ConfigError(
            f"precision.fp8={precision.fp8.value} needs TransformerEngine and a Hopper GPU or "
            "later; precision=bf16 runs everywhere"
        )
    bf16 = precision.bf16_first_layers + precision.bf16_last_layers
    if bf16 >= settings.model.layers:
        raise ConfigError(
            f"precision keeps {bf16} layers in bf16, and model.layers is {settings.model.layers}: "
            "none is left for FP8"
        )


def check_ranks(settings: PretrainSettings, launched: bool) -> None:
    """Refuse a number of ranks that the model, the batch or this command cannot be spread over.

    Raises
    ------
    ConfigError
        Names the keys that do not go together.
    """
    parallel = settings.parallel
    world = parallel.devices * parallel.nodes
    model_parallel = parallel.tensor * parallel.pipeline
    if world % model_parallel:
        raise ConfigError(
            f"parallel.tensor {parallel.tensor} x parallel.pipeline {parallel.pipeline} does not "
            f"divide the number of devices, {world}"
        )
    if parallel.nodes > 1 and not launched:
        raise ConfigError(
            f"parallel.nodes is {parallel.nodes}, but this command starts the ranks of one node "
            "only; start it with torchrun on every node"
        )
    if settings.model.layers % parallel.pipeline:
        raise ConfigError(
            f"parallel.pipeline {parallel.pipeline} does not divide the model's "
            f"{settings.model.layers} layers"
        )
    if parallel.sequence and parallel.tensor == 1:
        raise ConfigError("parallel.sequence=true needs parallel.tensor of 2 or more")
    if settings.model.heads % parallel.tensor:
        raise ConfigError(
            f"parallel.tensor {parallel.tensor} does not divide model.heads {settings.model.heads}"
        )
    per_pass = settings.micro_batch * (world // model_parallel)
    if settings.global_batch % per_pass:
        raise ConfigError(
            f"global_batch {settings.global_batch} is not a multiple of micro_batch x data "
            f"parallel size, {per_pass}"
        )
