"""Counters for Prometheus of what an encoder does, beside Triton's own."""

from collections import Counter

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
}


class EncoderMetrics:
    """The counters of one endpoint.

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

    def report(self, counts: Counter[str]) -> None:
        """Raise the counters to ``counts``, those since the start."""
        counts = counts + Counter(capacity_tokens=counts["passes"] * self._max_tokens)
        for name, more in (counts - self._last).items():
            self._metrics[name].increment(more)
        self._last = counts
