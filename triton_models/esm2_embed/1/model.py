"""The encoder, and with it every task's head."""

from bionemo_ext.serving.encoder_model import EncoderModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
