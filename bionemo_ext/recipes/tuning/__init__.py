"""Fine-tuning of an encoder with its head, on NeMo and Megatron: LoRA, or all weights."""

from bionemo_ext.recipes.tuning.embedding import RankEncoder
from bionemo_ext.recipes.tuning.run import tune

__all__ = ["RankEncoder", "tune"]
