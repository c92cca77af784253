"""Structures by ESMFold."""

from bionemo_ext.serving.fold_model import FoldModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
