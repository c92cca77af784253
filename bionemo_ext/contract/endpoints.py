"""The endpoints of a model: one holds the encoder, the others ask it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bionemo_ext.contract import names
from bionemo_ext.contract.endpoint import Endpoint, TensorSpec
from bionemo_ext.contract.names import embed_name
from bionemo_ext.contract.task import TaskInfo
from bionemo_ext.sequences import ESM2

_SEQUENCE = TensorSpec(names.SEQUENCE, "TYPE_STRING", (1,))
_LENGTH = TensorSpec(names.LENGTH, "TYPE_INT32", (1,))


@dataclass(frozen=True)
class EncoderFacts:
    """What the endpoints tell of their encoder.

    Parameters
    ----------
    hidden_size : int
        H; -1 in the templates.
    layers : int
        N; 0 in the templates.
    max_residues : int
        Residues a sequence may have.
    alphabet : str
        Name of the model family's alphabet, as :mod:`bionemo_ext.sequences` calls it.
    tokens : tuple of str
        The alphabet's tokens: the columns of the logits, V of them.
    contacts : bool
        Whether the model predicts contacts; ESM-1nv does not.
    digest : str
        SHA-256 of the weights, by which users tell models apart.
    dtype : {"float32", "bfloat16"}
        Precision that it computes in; outputs are FP32 always.
    """

    hidden_size: int = -1
    layers: int = 0
    max_residues: int = ESM2.max_residues
    alphabet: str = ESM2.name
    tokens: tuple[str, ...] = ESM2.tokens
    contacts: bool = True
    digest: str = ""
    dtype: str = "float32"

    @property
    def logits(self) -> TensorSpec:
        """Scores of every token at every residue, FP32 [L, V]."""
        return TensorSpec(names.LOGITS, "TYPE_FP32", (-1, len(self.tokens)))


def encoder_endpoint(
    encoder: EncoderFacts,
    tasks: Sequence[TaskInfo] = (),
    *,
    model: str = names.DEFAULT_MODEL,
    instances: int = 1,
) -> Endpoint:
    """Describe the endpoint that holds the encoder and every task's head.

    Parameters
    ----------
    encoder : EncoderFacts
        The encoder.
    tasks : sequence of TaskInfo
        One output each, of the task's name.
    model : str
        What the endpoints' names begin with.
    instances : int
        Processes that serve it, each with the encoder in its memory.
    """
    hidden = encoder.hidden_size
    maps = [TensorSpec(names.CONTACTS, "TYPE_FP32", (-1, -1))] if encoder.contacts else []
    return Endpoint(
        embed_name(model),
        (_SEQUENCE, TensorSpec(names.LAYER, "TYPE_INT32", (1,), optional=True)),
        (
            *(TensorSpec(name, "TYPE_FP32", (hidden,)) for name in names.POOLINGS),
            TensorSpec(names.RESIDUES, "TYPE_FP32", (-1, hidden)),
            encoder.logits,
            TensorSpec(names.MASKED_LOGITS, "TYPE_FP32", encoder.logits.dims),
            *maps,
            _LENGTH,
            *(task.tensor(task.name) for task in tasks),
        ),
        {
            "alphabet": encoder.alphabet,
            "digest": encoder.digest,
            "dtype": encoder.dtype,
            "layers": str(encoder.layers),
            "max_answer_bytes": str(names.MAX_ANSWER_BYTES),
            "max_residues": str(encoder.max_residues),
            "max_tokens_per_pass": str(names.MAX_TOKENS_PER_PASS),
            "model": model,
            "tasks": json.dumps([asdict(task) for task in tasks]),
            "tokens": json.dumps(encoder.tokens),
        },
        instances,
        on_gpu=True,
    )


def task_endpoint(
    task: TaskInfo,
    max_residues: int = ESM2.max_residues,
    *,
    model: str = names.DEFAULT_MODEL,
) -> Endpoint:
    """Describe the thin endpoint of a task, which asks the encoder's endpoint for its output."""
    return _thin(
        task.name,
        model,
        max_residues,
        (task.tensor(names.PREDICTION), _LENGTH),
        {"answers": json.dumps({names.PREDICTION: task.name}), "task": task.to_json()},
    )


def logits_endpoint(encoder: EncoderFacts, *, model: str = names.DEFAULT_MODEL) -> Endpoint:
    """Describe the endpoint of raw scores, FP32 [L, V], of sequences that may have masks."""
    return _thin(
        f"{model}_logits",
        model,
        encoder.max_residues,
        (encoder.logits,),
        {"mask": names.MASK, "tokens": json.dumps(encoder.tokens)},
    )


def contacts_endpoint(encoder: EncoderFacts, *, model: str = names.DEFAULT_MODEL) -> Endpoint:
    """Describe the endpoint of contact probabilities, FP32 [L, L]."""
    return _thin(
        f"{model}_contacts",
        model,
        encoder.max_residues,
        (TensorSpec(names.CONTACTS, "TYPE_FP32", (-1, -1)),),
        {},
        max_batch_size=names.MAX_CONTACT_MAPS,
    )


def mutation_effect_endpoint(
    encoder: EncoderFacts, *, model: str = names.DEFAULT_MODEL
) -> Endpoint:
    """Describe the endpoint of mutation effects, log p(mutant) - log p(wild type).

    ``scan`` FP32 [L, 20] has every substitution, its columns those of ``amino_acids``; ``score``
    FP32 [variants] each variant of ``mutants``.
    """
    return _thin(
        f"{model}_mutation_effect",
        model,
        encoder.max_residues,
        (
            TensorSpec(names.SCAN, "TYPE_FP32", (-1, len(names.AMINO_ACIDS))),
            TensorSpec(names.SCORE, "TYPE_FP32", (-1,)),
        ),
        {
            "alphabet": encoder.alphabet,
            "amino_acids": names.AMINO_ACIDS,
            "max_variants": str(names.MAX_VARIANTS),
        },
        inputs=(
            _SEQUENCE,
            TensorSpec(names.METHOD, "TYPE_STRING", (1,), optional=True),
            TensorSpec(names.MUTANTS, "TYPE_STRING", (1,), optional=True),
        ),
    )


def _thin(
    name: str,
    model: str,
    max_residues: int,
    outputs: tuple[TensorSpec, ...],
    parameters: Mapping[str, str],
    *,
    inputs: tuple[TensorSpec, ...] = (_SEQUENCE,),
    max_batch_size: int = names.MAX_BATCH_SIZE,
) -> Endpoint:
    return Endpoint(
        name,
        inputs,
        outputs,
        {"host": embed_name(model), "max_residues": str(max_residues), **parameters},
        max_batch_size=max_batch_size,
        cached=len(outputs) == 1,
    )
