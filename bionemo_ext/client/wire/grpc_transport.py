"""gRPC, over tritonclient's asyncio client."""

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import grpc
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from bionemo_ext.client.wire.access import Access, read_pem
from bionemo_ext.client.wire.address import Address
from bionemo_ext.client.wire.failures import Failure, grpc_class, judge
from bionemo_ext.client.wire.reasons import unreachable
from bionemo_ext.client.wire.transport import Arrays, Inputs, triton_type
from bionemo_ext.contract import Endpoint, from_message
from bionemo_ext.errors import UnavailableError

T = TypeVar("T")

# What gRPC itself says of a connection, as opposed to a server of a request.
_OF_THE_CONNECTION = (
    "failed to connect", "connection", "socket closed", "recvmsg", "broken pipe", "goaway",
    "dns resolution", "handshake", "tcp handshaker", "endpoint closing", "end of tcp stream",
    "stream removed", "name resolution", "too many pings", "no route", "network is unreachable",
)  # fmt: skip
_BYTES = (1 << 31) - 1
_OPTIONS = (
    ("grpc.max_send_message_length", _BYTES),
    ("grpc.max_receive_message_length", _BYTES),
    # A server that comes back is seen soon; gRPC would wait for up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # For how long it tries to connect, twenty seconds otherwise.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # The name was looked up here, so that a proxy could not be told it.
    ("grpc.enable_http_proxy", 0),
    # Clients in one process do not share a connection, and so not its failures either.
    ("grpc.use_local_subchannel_pool", 1),
)


class GrpcTransport:
    """A :class:`~bionemo_ext.client.wire.transport.Transport` to one server.

    Parameters
    ----------
    address : Address
        What the user gave; its host must be in the server's certificate.
    access : Access
        Certificates and metadata.
    known : set of str
        Endpoints that have answered, here or at another replica; grows.
    ip : str
        Where to connect to; of a name that has several addresses one of them.
    """

    def __init__(self, address: Address, access: Access, known: set[str], ip: str) -> None:
        self._address, self._access, self._known = address, access, known
        self._target = replace(address, host=ip).target
        self._client: InferenceServerClient | None = None
        self._reached = False

    @property
    def _triton(self) -> Any:
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> Any:
        # The name, as ingresses want it, also where the connection is to an IP address of it.
        options: list[tuple[str, Any]] = [*_OPTIONS]
        credentials = None
        if self._address.is_encrypted:
            tls = self._access.tls
            name = tls.server_name or self._address.host
            options += [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
            credentials = grpc.ssl_channel_credentials(
                read_pem(tls.ca), read_pem(tls.key), read_pem(tls.cert)
            )
        else:
            options.append(("grpc.default_authority", self._address.target))
        return InferenceServerClient(self._target, creds=credentials, channel_args=options)

    async def ready(self, timeout_s: float) -> bool:
        """Whether server and models are ready."""
        words = self._words(timeout_s)
        return bool(await self._call(self._triton.is_server_ready(**words)))

    async def endpoint_names(self, timeout_s: float) -> list[str]:
        """Names of the endpoints that are ready, sorted."""
        words = self._words(timeout_s)
        index = await self._call(self._triton.get_model_repository_index(**words))
        return sorted(model.name for model in index.models if model.state == "READY")

    async def endpoint(self, name: str, timeout_s: float) -> Endpoint:
        """Ask what an endpoint is."""
        call = self._triton.get_model_config(name, **self._words(timeout_s))
        reply = await self._call(call, name)
        return from_message(reply.config)

    async def infer(
        self, endpoint: str, inputs: Inputs, outputs: Sequence[str], timeout_s: float
    ) -> Arrays:
        """One request: arrays [B, 1] in, arrays [B, ...] out."""
        tensors = []
        for name, array in inputs.items():
            tensor = InferInput(name, list(array.shape), triton_type(array))
            tensors.append(tensor.set_data_from_numpy(array))
        call = self._triton.infer(
            endpoint,
            tensors,
            outputs=[InferRequestedOutput(name) for name in outputs],
            timeout=max(1, round(timeout_s * 1e6)),
            **self._words(timeout_s),
        )
        reply = await self._call(call, endpoint)
        return {name: reply.as_numpy(name) for name in outputs}

    async def close(self) -> None:
        """Close the channel."""
        if self._client is not None:
            await self._client.close()

    def _words(self, timeout_s: float) -> dict[str, Any]:
        return {"client_timeout": timeout_s, "headers": dict(self._access.headers)}

    async def _call(self, call: Awaitable[T], endpoint: str | None = None) -> T:
        try:
            reply = await call
        except InferenceServerException as error:
            raise self._failure(error, endpoint in self._known) from None
        self._reached = True
        if endpoint is not None:
            self._known.add(endpoint)
        return reply

    def _failure(self, error: InferenceServerException, known: bool) -> Failure:
        kind, message = grpc_class(error.status()), str(error.message())
        if kind is UnavailableError and any(sign in message.lower() for sign in _OF_THE_CONNECTION):
            tls = self._access.tls
            return unreachable(message, self._address, tls, reached=self._reached)
        self._reached = True
        return judge(kind, message, known=known)
