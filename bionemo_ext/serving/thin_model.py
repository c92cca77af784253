"""What the endpoints share that ask the encoder's endpoint.

Triton runs one execution of a model at a time. So that a request that takes long holds up no
other, an execution here only begins its requests: each is a coroutine in a loop of its own and
sends its answer when it has one.
"""

import asyncio
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from bionemo_ext.contract import SEQUENCE, is_about_a_record
from bionemo_ext.errors import InputError
from bionemo_ext.serving.pulse import never_late
from bionemo_ext.serving.request_seconds import RequestSeconds
from bionemo_ext.serving.triton_io import (
    CANCELLED,
    OK,
    QUEUE_FULL,
    TOO_LATE,
    cancelled,
    failure,
    log_request,
    read_input,
    read_parameters,
    refusal,
    send,
    unavailable,
)

# Requests to the encoder's endpoint at once; each waits in a thread.
_AT_ONCE = 64
# On the way between models Triton forgets the code of an error; these begin the encoder's texts.
_CODES = {QUEUE_FULL: "UNAVAILABLE", TOO_LATE: "UNAVAILABLE", CANCELLED: "CANCELLED"}

Arrays = dict[str, NDArray[Any]]


class HostError(Exception):
    """The encoder's endpoint answered with an error, whose text this is."""

    def response(self) -> Any:
        """The same error for who asked us."""
        code = "INVALID_ARG" if is_about_a_record(str(self)) else "INTERNAL"
        for beginning, other in _CODES.items():
            if str(self).startswith(beginning):
                code = other
        return failure(str(self), getattr(pb_utils.TritonError, code))


class Cancelled(Exception):  # noqa: N818 (no fault of anybody)
    """Nobody waits for the answer any more."""


@never_late
class ThinModel(ABC):
    """Base of Triton's ``TritonPythonModel`` of such endpoints."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read which endpoint to ask, and start the loop."""
        config = json.loads(args["model_config"])
        self.name = config["name"]
        self.parameters = read_parameters(config)
        self.host = self.parameters["host"]
        self._seconds = RequestSeconds(self.name)
        self._places = threading.BoundedSemaphore(int(self.parameters["queue_size"]))
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(_AT_ONCE))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def execute(self, requests: Sequence[Any]) -> list[None]:
        """Begin the requests; their answers follow."""
        for request in requests:
            sender = request.get_response_sender()
            if self._places.acquire(blocking=False):
                begun = self._run(request, sender, time.perf_counter())
                asyncio.run_coroutine_threadsafe(begun, self._loop)
            else:
                send(sender, unavailable(f"{self.name} has too many requests under way"))
        return [None for _ in requests]

    def finalize(self) -> None:
        """End the loop; Triton calls this once every request has its answer."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        del self._seconds  # it must end before Triton's part of this process

    @abstractmethod
    async def answer(self, request: Any) -> Mapping[str, NDArray[Any]]:
        """Give the outputs that a request wants, [B, ...] each.

        Raises
        ------
        InputError
            If its content is wrong.
        HostError
            What :meth:`ask` raises.
        """

    async def ask(self, request: Any, sequences: Any, outputs: Sequence[str]) -> Arrays:
        """Ask the encoder's endpoint on behalf of ``request``.

        Parameters
        ----------
        request : InferenceRequest
            Whose id and timeout the encoder's endpoint shall see.
        sequences : Tensor
            The input ``sequence``, [B, 1].
        outputs : sequence of str
            What to ask for.

        Raises
        ------
        HostError
            If it answers with an error.
        Cancelled
            If ``request`` was cancelled before it was asked.
        """
        if request.is_cancelled():
            raise Cancelled
        response = await pb_utils.InferenceRequest(
            model_name=self.host,
            inputs=[sequences],
            requested_output_names=list(outputs),
            request_id=request.request_id(),
            timeout=request.timeout(),
        ).async_exec()
        if response.has_error():
            raise HostError(response.error().message())
        # Copies, because what the response holds goes with it.
        outs = {name: pb_utils.get_output_tensor_by_name(response, name) for name in outputs}
        return {name: tensor.as_numpy().copy() for name, tensor in outs.items()}

    async def _run(self, request: Any, sender: Any, arrived: float) -> None:
        sequences = read_input(request, SEQUENCE) or []
        try:
            arrays = await self.answer(request)
            tensors = [pb_utils.Tensor(name, array) for name, array in arrays.items()]
            response, outcome = pb_utils.InferenceResponse(tensors), OK
        except InputError as error:
            response, outcome = refusal(error), str(error)
        except HostError as error:
            response, outcome = error.response(), str(error)
        except Cancelled:
            response, outcome = cancelled(), "cancelled"
        except Exception as error:  # whoever waits must hear of it
            pb_utils.Logger.log_error(f"{self.name} failed: {error!r}")
            response, outcome = failure(f"{self.name} failed: {error}"), repr(error)
        finally:
            self._places.release()
        send(sender, response)
        if outcome == OK:
            self._seconds.observe(time.perf_counter() - arrived)
        log_request(self.name, request, sequences, arrived, outcome)


def strings(values: Sequence[str]) -> Any:
    """The input ``sequence`` of a request to the encoder's endpoint."""
    column = np.array([value.encode() for value in values], dtype=np.object_)[:, None]
    return pb_utils.Tensor(SEQUENCE, column)
