"""Which endpoints a model and its tasks have, and from which template each is made."""

from collections.abc import Sequence

from bionemo_ext.contract import (
    EncoderFacts,
    Endpoint,
    contacts_endpoint,
    encoder_endpoint,
    logits_endpoint,
    mutation_effect_endpoint,
    task_endpoint,
)
from bionemo_ext.errors import InputError
from bionemo_ext.huggingface import ESM2Config
from bionemo_ext.inference.encoder import Encoder
from bionemo_ext.inference.predictor import Predictor

EMBED, TASK = "esm2_embed", "task"
# The thin endpoints of a model: the template of each, and how the contract describes it.
THIN = {
    "esm2_logits": logits_endpoint,
    "esm2_contacts": contacts_endpoint,
    "esm2_mutation_effect": mutation_effect_endpoint,
}


def describe_endpoints(
    encoder: Encoder, tasks: Sequence[Predictor], model: str, dtype: str, instances: int = 1
) -> list[tuple[str, Endpoint]]:
    """Describe the endpoints of a model and of its tasks.

    Returns
    -------
    list of (str, Endpoint)
        Each with the name of its template; the encoder's comes first.

    Raises
    ------
    InputError
        If two tasks have one name.
    """
    infos = [task.spec.info for task in tasks]
    names = sorted(info.name for info in infos)
    if len(set(names)) < len(names):
        raise InputError(f"two tasks have one name: {', '.join(names)}")
    facts = EncoderFacts(
        encoder.hidden_size,
        encoder.config.layers,
        min(e.config.max_residues for e in [encoder, *(task.encoder for task in tasks)]),
        encoder.alphabet.name,
        encoder.alphabet.tokens,
        isinstance(encoder.config, ESM2Config),
        encoder.digest,
        dtype,
    )
    thin = [
        (template, describe(facts, model=model))
        for template, describe in THIN.items()
        if facts.contacts or describe is not contacts_endpoint
    ]
    return [
        (EMBED, encoder_endpoint(facts, infos, model=model, instances=instances)),
        *thin,
        *((TASK, task_endpoint(info, facts.max_residues, model=model)) for info in infos),
    ]
