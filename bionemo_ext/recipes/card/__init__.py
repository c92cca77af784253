"""MODEL_CARD.md: what an exported model is, made from the run that trained it."""

from bionemo_ext.recipes.card.origin import describe
from bionemo_ext.recipes.card.record import record_run
from bionemo_ext.recipes.card.write import card_folder, write_card

__all__ = ["card_folder", "describe", "record_run", "write_card"]
