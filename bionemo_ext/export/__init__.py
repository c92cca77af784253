"""From a trained model to a Hugging Face folder and a Triton model repository."""

from bionemo_ext.export.fold import FoldSource
from bionemo_ext.export.repository import export, export_fold, templates

__all__ = ["FoldSource", "export", "export_fold", "templates"]
