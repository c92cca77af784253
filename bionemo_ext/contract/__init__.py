"""What server and client agree on: endpoints, tensors, types, limits, what a task tells of itself.

Letters: V tokens of the alphabet, H hidden size, L residues, N layers, C classes (1 for a
regression), -1 a size that varies.
"""

from bionemo_ext.contract.endpoint import Endpoint, QueuePolicy, TensorSpec
from bionemo_ext.contract.endpoints import (
    EncoderFacts,
    contacts_endpoint,
    encoder_endpoint,
    logits_endpoint,
    mutation_effect_endpoint,
    task_endpoint,
)
from bionemo_ext.contract.names import (
    AMINO_ACIDS,
    CONTACTS,
    DEFAULT_MODEL,
    ENCODER_FOLDER,
    HOST,
    LAYER,
    LENGTH,
    LOGITS,
    MASK,
    MASKED_LOGITS,
    MAX_ANSWER_BYTES,
    MAX_BATCH_SIZE,
    MAX_TOKENS_PER_PASS,
    METHOD,
    MUTANTS,
    POOLINGS,
    PREDICTION,
    RESIDUES,
    SCAN,
    SCORE,
    SEQUENCE,
    TASKS_FOLDER,
    check_model_name,
    embed_name,
)
from bionemo_ext.contract.pbtxt import from_message, from_pbtxt, to_pbtxt
from bionemo_ext.contract.records import is_about_a_record, position_name, with_names
from bionemo_ext.contract.task import Kind, Level, TaskInfo

__all__ = [
    "AMINO_ACIDS",
    "CONTACTS",
    "DEFAULT_MODEL",
    "ENCODER_FOLDER",
    "HOST",
    "LAYER",
    "LENGTH",
    "LOGITS",
    "MASK",
    "MASKED_LOGITS",
    "MAX_ANSWER_BYTES",
    "MAX_BATCH_SIZE",
    "MAX_TOKENS_PER_PASS",
    "METHOD",
    "MUTANTS",
    "POOLINGS",
    "PREDICTION",
    "RESIDUES",
    "SCAN",
    "SCORE",
    "SEQUENCE",
    "TASKS_FOLDER",
    "EncoderFacts",
    "Endpoint",
    "Kind",
    "Level",
    "QueuePolicy",
    "TaskInfo",
    "TensorSpec",
    "check_model_name",
    "contacts_endpoint",
    "embed_name",
    "encoder_endpoint",
    "from_message",
    "from_pbtxt",
    "is_about_a_record",
    "logits_endpoint",
    "mutation_effect_endpoint",
    "position_name",
    "task_endpoint",
    "to_pbtxt",
    "with_names",
]
