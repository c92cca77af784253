"""HTTP, over tritonclient's asyncio client; needs the extra ``http``."""

import ssl
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import aiohttp
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.http.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from bionemo_ext.client.wire.access import Access, Tls
from bionemo_ext.client.wire.address import Address
from bionemo_ext.client.wire.failures import Failure, http_class, judge
from bionemo_ext.client.wire.reasons import unreachable
from bionemo_ext.client.wire.transport import Arrays, Inputs, triton_type
from bionemo_ext.contract import Endpoint, from_message
from bionemo_ext.errors import ServerError

T = TypeVar("T")

# What tritonclient says of an answer that is not Triton's, such as a proxy's page.
_NOT_TRITONS = "an exception occurred in the client while decoding the response"


class HttpTransport:
    """A :class:`~bionemo_ext.client.wire.transport.Transport` to one server.

    Parameters
    ----------
    address : Address
        What the user gave.
    access : Access
        Certificates and headers.
    known : set of str
        Endpoints that have answered, here or at another replica; grows.
    ip : str
        Where to connect to; of a name that has several addresses one of them.
    """

    def __init__(self, address: Address, access: Access, known: set[str], ip: str) -> None:
        self._address, self._known = address, known
        self._target = replace(address, host=ip).target
        self._headers = {"host": address.target, **access.headers}
        self._tls = access.tls
        self._context = ssl_context(access.tls) if address.is_encrypted else None
        self._reached = False
        self._client: InferenceServerClient | None = None

    @property
    def _triton(self) -> Any:
        if self._client is None:
            # Deadlines are the caller's; aiohttp's own would end a long request.
            self._client = InferenceServerClient(
                self._target,
                conn_timeout=None,
                ssl=self._address.is_encrypted,
                ssl_context=self._context,
            )
        return self._client

    async def ready(self, timeout_s: float) -> bool:
        """Whether server and models are ready."""
        return bool(await self._call(self._triton.is_server_ready(headers=self._headers)))

    async def endpoint_names(self, timeout_s: float) -> list[str]:
        """Names of the endpoints that are ready, sorted."""
        call = self._triton.get_model_repository_index(headers=self._headers)
        models = await self._call(call)
        return sorted(model["name"] for model in models if model.get("state") == "READY")

    async def endpoint(self, name: str, timeout_s: float) -> Endpoint:
        """Ask what an endpoint is."""
        config = await self._call(self._triton.get_model_config(name, headers=self._headers), name)
        message = model_config_pb2.ModelConfig()
        json_format.ParseDict(config, message, ignore_unknown_fields=True)
        return from_message(message)

    async def infer(
        self, endpoint: str, inputs: Inputs, outputs: Sequence[str], timeout_s: float
    ) -> Arrays:
        """One request: arrays [B, 1] in, arrays [B, ...] out."""
        tensors = []
        for name, array in inputs.items():
            tensor = InferInput(name, list(array.shape), triton_type(array))
            tensors.append(tensor.set_data_from_numpy(array, binary_data=True))
        call = self._triton.infer(
            endpoint,
            tensors,
            outputs=[InferRequestedOutput(name, binary_data=True) for name in outputs],
            timeout=max(1, round(timeout_s * 1e6)),
            headers=self._headers,
        )
        reply = await self._call(call, endpoint)
        return {name: reply.as_numpy(name) for name in outputs}

    async def close(self) -> None:
        """Close the session."""
        if self._client is not None:
            await self._client.close()

    async def _call(self, call: Awaitable[T], endpoint: str | None = None) -> T:
        try:
            reply = await call
        except InferenceServerException as error:
            raise _failure(error, endpoint in self._known) from None
        except (aiohttp.ClientError, OSError) as error:
            text = str(error) or type(error).__name__
            raise unreachable(text, self._address, self._tls, reached=self._reached) from None
        except ValueError:
            raise Failure(ServerError, "what answers there is no Triton server") from None
        self._reached = True
        if endpoint is not None:
            self._known.add(endpoint)
        return reply


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """Make what the standard library's TLS takes."""
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context


def _failure(error: InferenceServerException, known: bool) -> Failure:
    code, message = int(error.status() or 500), str(error.message())
    if message.startswith(_NOT_TRITONS):
        message = f"HTTP status {code}, and nothing that Triton says"
    return judge(http_class(code), message, known=known)
