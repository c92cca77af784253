"""Effects of mutations, from logits that the encoder's endpoint gives."""

from bionemo_ext.serving.mutation_model import MutationModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
