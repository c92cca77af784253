"""How long an endpoint's requests take, for Prometheus.

Triton's own metrics of time end when an execution does, which for these endpoints only begins a
request.
"""

import triton_python_backend_utils as pb_utils

_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)


class RequestSeconds:
    """A histogram of the seconds from a request's arrival to its answer.

    Parameters
    ----------
    endpoint : str
        Its label ``model``. Instances of an endpoint share the histogram.
    """

    def __init__(self, endpoint: str) -> None:
        self._family = pb_utils.MetricFamily(
            name="bionemo_ext_request_seconds",
            description="Seconds from a request's arrival at its endpoint to its answer",
            kind=pb_utils.MetricFamily.HISTOGRAM,
        )
        self._metric = self._family.Metric(labels={"model": endpoint}, buckets=list(_BUCKETS))

    def observe(self, seconds: float) -> None:
        """Count a request that was answered."""
        self._metric.observe(seconds)
