"""An endpoint as Triton's ``config.pbtxt``, both ways."""

from typing import Any

from bionemo_ext.contract.endpoint import Endpoint, QueuePolicy, TensorSpec
from bionemo_ext.errors import ConfigError

# Parameters of a model that keeps its queue itself.
QUEUE_SIZE, QUEUE_TIMEOUT_S = _OF_THE_QUEUE = ("queue_size", "queue_timeout_s")


def to_pbtxt(endpoint: Endpoint) -> str:
    """Write the text of the endpoint's ``config.pbtxt``."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as pb

    config = pb.ModelConfig(
        name=endpoint.name, backend="python", max_batch_size=endpoint.max_batch_size
    )
    for spec in endpoint.inputs:
        kind = pb.DataType.Value(spec.dtype)
        config.input.add(name=spec.name, data_type=kind, dims=spec.dims, optional=spec.optional)
    for spec in endpoint.outputs:
        config.output.add(name=spec.name, data_type=pb.DataType.Value(spec.dtype), dims=spec.dims)
    # AUTO is a GPU where the server sees one, and a CPU elsewhere.
    group = pb.ModelInstanceGroup
    config.instance_group.add(
        count=endpoint.instances, kind=group.KIND_AUTO if endpoint.on_gpu else group.KIND_CPU
    )
    config.dynamic_batching.SetInParent()
    parameters = dict(endpoint.parameters)
    if endpoint.queue.by_triton:
        queue = config.dynamic_batching.default_queue_policy
        queue.timeout_action = pb.ModelQueuePolicy.REJECT
        queue.default_timeout_microseconds = round(endpoint.queue.timeout_s * 1e6)
        queue.allow_timeout_override = True
        queue.max_queue_size = endpoint.queue.size
    else:
        parameters[QUEUE_SIZE] = str(endpoint.queue.size)
        parameters[QUEUE_TIMEOUT_S] = repr(endpoint.queue.timeout_s)
    if endpoint.cached:
        config.response_cache.enable = True
    for key, value in parameters.items():
        config.parameters[key].string_value = value
    return text_format.MessageToString(config)


def from_pbtxt(text: str) -> Endpoint:
    """Read a ``config.pbtxt`` back.

    Raises
    ------
    ConfigError
        If it is not a model configuration.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as pb

    try:
        return from_message(text_format.Parse(text, pb.ModelConfig()))
    except text_format.ParseError as error:
        raise ConfigError(f"not a Triton model configuration: {error}") from None


def from_message(config: Any) -> Endpoint:
    """Read the ``ModelConfig`` message that a server gives of an endpoint."""
    from tritonclient.grpc import model_config_pb2 as pb

    parameters = {key: value.string_value for key, value in config.parameters.items()}
    return Endpoint(
        config.name,
        tuple(
            TensorSpec(m.name, pb.DataType.Name(m.data_type), tuple(m.dims), m.optional)
            for m in config.input
        ),
        tuple(
            TensorSpec(m.name, pb.DataType.Name(m.data_type), tuple(m.dims)) for m in config.output
        ),
        {key: value for key, value in parameters.items() if key not in _OF_THE_QUEUE},
        sum(group.count for group in config.instance_group),
        config.max_batch_size,
        _queue(config.dynamic_batching.default_queue_policy, parameters),
        # A server says which of the two AUTO became.
        any(group.kind != pb.ModelInstanceGroup.KIND_CPU for group in config.instance_group),
        config.response_cache.enable,
    )


def _queue(policy: Any, parameters: dict[str, str]) -> QueuePolicy:
    if QUEUE_SIZE in parameters:
        return QueuePolicy(int(parameters[QUEUE_SIZE]), float(parameters[QUEUE_TIMEOUT_S]))
    timeout_s = policy.default_timeout_microseconds / 1e6
    return QueuePolicy(policy.max_queue_size, timeout_s, by_triton=True)
