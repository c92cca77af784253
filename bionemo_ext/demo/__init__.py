"""The main job end to end on small real data: ``bionemo-ext demo`` and the page it writes."""
