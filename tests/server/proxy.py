"""A gRPC server before the real one, that refuses, waits or looks as it is told."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from tritonclient.grpc import service_pb2

INFER = "ModelInfer"


class Proxy:
    """Passes calls on to ``target``, but for what is set here.

    ``failures`` are (status, details) that inferences are answered with, one after the other;
    ``token`` is one that callers must send; ``seen`` has (method, seconds left, request) of each.
    """

    def __init__(self, target, host="127.0.0.1", port=0):
        self.failures, self.token, self.wait_s = [], None, 0.0
        self.seen = []
        self._lock = threading.Lock()
        self._channel = grpc.insecure_channel(target.removeprefix("grpc://"))
        self._pool = ThreadPoolExecutor(16)
        self._server = grpc.server(self._pool)
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"{host}:{port}")
        self.url = f"grpc://{host}:{self.port}"

    def service(self, details):
        """Handle every method."""
        method = details.method

        def handle(request, context):
            return self._handle(method, request, context)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _handle(self, method, request, context):
        if self.token is not None:
            sent = dict(context.invocation_metadata()).get("authorization")
            if sent is None:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "a token is needed")
            if sent != f"Bearer {self.token}":
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "the token is not known")
        name = method.rpartition("/")[2]
        if name == INFER:
            with self._lock:
                parsed = service_pb2.ModelInferRequest.FromString(request)
                self.seen.append((time.monotonic(), context.time_remaining(), parsed))
                failure = self.failures.pop(0) if self.failures else None
            time.sleep(self.wait_s)
            if failure is not None:
                context.abort(*failure)
        try:
            return self._channel.unary_unary(method)(request)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *error):
        self._server.stop(0).wait()
        self._pool.shutdown()
        self._channel.close()
