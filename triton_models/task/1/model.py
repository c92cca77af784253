"""One task, routed to the encoder."""

from bionemo_ext.serving.task_model import TaskModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
