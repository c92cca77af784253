"""From a trained model to a Hugging Face folder and a Triton model repository."""

from bionemo_ext.export.repository import export, templates

__all__ = ["export", "templates"]
