"""What the models share that run inside the server: inputs, errors, one line of log a request."""

import json
import time
from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

from bionemo_ext.errors import InputError

# How the texts of errors begin that are nobody's mistake; who asks another endpoint goes by them.
QUEUE_FULL = "the queue is full"
TOO_LATE = "the request waited too long"
CANCELLED = "the request was cancelled"
# The outcome of a request that was answered as asked.
OK = "ok"


def read_parameters(config: dict[str, Any]) -> dict[str, str]:
    """Parameters of a model's configuration."""
    return {key: value["string_value"] for key, value in config["parameters"].items()}


def read_input(request: Any, name: str) -> list[Any] | None:
    """Values of an input of dims [1], one a sequence; None where the request lacks it."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy().ravel().tolist()


def refusal(error: InputError) -> Any:
    """A response for a request whose content is wrong."""
    return failure(str(error), pb_utils.TritonError.INVALID_ARG)


def failure(message: str, code: Any = None) -> Any:
    """A response that is an error, ``INTERNAL`` unless ``code`` says otherwise."""
    error = pb_utils.TritonError(message, *([] if code is None else [code]))
    return pb_utils.InferenceResponse(error=error)


def send(request_sender: Any, response: Any) -> None:
    """Send the one response to a request whose execution has ended."""
    request_sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def unavailable(message: str) -> Any:
    """A response for a request that may be tried again later."""
    return failure(message, pb_utils.TritonError.UNAVAILABLE)


def cancelled() -> Any:
    """A response for a request whose client went away."""
    return failure(CANCELLED, pb_utils.TritonError.CANCELLED)


def log_request(
    endpoint: str, request: Any, sequences: Sequence[bytes], start: float, outcome: str
) -> None:
    """Write one line of JSON at level info.

    Parameters
    ----------
    endpoint : str
        Who answered.
    request : InferenceRequest
        Its id is what the client gave.
    sequences : sequence of bytes
        As they came.
    start : float
        ``time.perf_counter()`` when work on it began; its wait in the queue is not counted.
    outcome : str
        ``ok``, ``cancelled``, or what was answered instead.
    """
    line = {
        "request_id": request.request_id(),
        "endpoint": endpoint,
        "sequences": len(sequences),
        "residues": sum(map(len, sequences)),
        "ms": round(1e3 * (time.perf_counter() - start), 1),
        "outcome": outcome,
    }
    pb_utils.Logger.log_info(json.dumps(line))
