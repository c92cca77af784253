"""Names of endpoints, tensors and folders, and the limits of a request."""

import re

from bionemo_ext.errors import ConfigError

# Inputs.
SEQUENCE = "sequence"
LAYER = "layer"
METHOD = "method"
MUTANTS = "mutants"
# Outputs.
LENGTH = "length"
POOLINGS = ("mean", "cls", "max")
RESIDUES = "residues"
LOGITS = "logits"
MASKED_LOGITS = "masked_logits"
CONTACTS = "contacts"
PREDICTION = "prediction"
SCAN = "scan"
SCORE = "score"

# How one masked residue is written in a sequence.
MASK = "<mask>"
# Columns of a scan.
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"

# Beside the encoder's model.py: a Hugging Face folder, and a folder of task folders.
ENCODER_FOLDER = "encoder"
TASKS_FOLDER = "tasks"

# Sequences in one request, and in one execution of the batcher.
MAX_BATCH_SIZE = 64
# Contact maps are L x L: fewer of them in one answer.
MAX_CONTACT_MAPS = 16
# Residue tokens that the server takes through the encoder in one pass: bounds its memory.
MAX_TOKENS_PER_PASS = 8_192
# Of one request, its padding included: it lies in shared memory, and gRPC ends at 2 GiB.
MAX_ANSWER_BYTES = 1 << 30
# Variants of one sequence that one request may ask to score.
MAX_VARIANTS = 10_000
# Requests that may wait at an endpoint, and for how long, before they are refused as UNAVAILABLE.
QUEUE_SIZE = 512
QUEUE_TIMEOUT_S = 600

# What clients ask when nobody says which model.
DEFAULT_MODEL = "esm2"

_MODEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}")


def embed_name(model: str) -> str:
    """Name the endpoint that holds a model's encoder."""
    return f"{model}_embed"


HOST = embed_name(DEFAULT_MODEL)


def check_model_name(name: str) -> str:
    """Give ``name`` back if endpoints may begin with it.

    Raises
    ------
    ConfigError
        If it could not be part of a folder's and an endpoint's name.
    """
    if not _MODEL_NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a model: a letter, then at most 47 letters, digits, "
            "'_' or '-'"
        )
    return name
