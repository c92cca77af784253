"""What an encoder does, for Prometheus, beside Triton's own metrics."""

from collections import Counter
from collections.abc import Sized

import triton_python_backend_utils as pb_utils

_PREFIX = "bionemo_ext_"
_HELP = {
    "sequences": "Sequences answered",
    "residues": "Residues answered",
    "passes": "Passes of the encoder",
    "tokens": "Tokens that went through the encoder",
    "capacity_tokens": "Tokens that so many passes could have held",
    "rows": "Rows of answers that have one a residue",
    "padding_rows": "Rows among them that only fill up to the longest sequence",
    "queued_requests": "Requests that left the encoder's queue",
    "queue_us": "Microseconds that they waited there",
    "refused_requests": "Requests that found the queue full, or waited too long",
}


class EncoderMetrics:
    """The counters of one endpoint, and a gauge of the requests that wait for its encoder.

    Parameters
    ----------
    endpoint : str
        Their label ``model``.
    max_tokens : int
        Tokens of one pass.
    """

    def __init__(self, endpoint: str, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._last: Counter[str] = Counter()
        self._families = {
            name: pb_utils.MetricFamily(
                name=f"{_PREFIX}{name}_total",
                description=text,
                kind=pb_utils.MetricFamily.COUNTER,
            )
            for name, text in _HELP.items()
        }
        self._metrics = {
            name: family.Metric(labels={"model": endpoint})
            for name, family in self._families.items()
        }
        self._pending_family = pb_utils.MetricFamily(
            name=f"{_PREFIX}pending_requests",
            description="Requests that wait for the encoder",
            kind=pb_utils.MetricFamily.GAUGE,
        )
        self._pending = self._pending_family.Metric(labels={"model": endpoint})
        self._pending_last = 0

    def skip(self, counts: Counter[str]) -> None:
        """Leave out what was counted so far, that of the warm-up."""
        self._last |= self._with_capacity(counts)

    def report(self, counts: Counter[str]) -> None:
        """Raise the counters that are in ``counts`` to their values since the start."""
        counts = self._with_capacity(counts)
        for name, more in (counts - self._last).items():
            self._metrics[name].increment(more)
        self._last |= counts

    def report_pending(self, queue: Sized) -> None:
        """Move the gauge with the length of ``queue``.

        Other instances of the endpoint share the gauge, so it is moved and never set. For
        the encoder's thread, between passes: a metric is a message to Triton, which an execution
        need not wait for.
        """
        length = len(queue)
        if length != self._pending_last:
            self._pending.increment(length - self._pending_last)
        self._pending_last = length

    def _with_capacity(self, counts: Counter[str]) -> Counter[str]:
        return counts + Counter(capacity_tokens=counts["passes"] * self._max_tokens)
