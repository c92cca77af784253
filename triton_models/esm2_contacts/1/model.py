"""An output of the encoder's endpoint, asked for there and passed on."""

from bionemo_ext.serving.relay_model import RelayModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
