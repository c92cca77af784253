"""How long to wait before a request is tried again, and how often."""

import random
from dataclasses import dataclass
from typing import ClassVar

from bionemo_ext.errors import InputError


@dataclass(frozen=True)
class Retry:
    """Another attempt after what may pass: a lost connection, a full queue, a server that starts.

    The wait doubles from ``first_s`` to ``most_s``. All attempts of a request share its deadline.

    Parameters
    ----------
    attempts : int, optional
        Attempts in all; as many as the deadline allows when not given.
    first_s, most_s : float
        The first and the longest wait.
    jitter : float
        Share of a wait, up or down, that is drawn at random, so that clients that failed together
        do not come back together.

    Raises
    ------
    InputError
        If a value is out of its range.
    """

    NONE: ClassVar["Retry"]

    attempts: int | None = None
    first_s: float = 0.1
    most_s: float = 5.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise InputError(f"attempts must be at least 1, not {self.attempts}")
        if not 0 < self.first_s <= self.most_s:
            raise InputError(
                "first_s must be above 0 and at most most_s: "
                f"{self.first_s:g} and {self.most_s:g} are not"
            )
        if not 0 <= self.jitter < 1:
            raise InputError(f"jitter must be at least 0 and below 1, not {self.jitter:g}")

    def wait_s(self, failed: int) -> float:
        """Seconds to wait after ``failed`` attempts."""
        # The exponent is bounded because a float ends at 2 ** 1023.
        wait = min(self.most_s, self.first_s * 2.0 ** min(failed - 1, 64))
        return wait * (1 + random.uniform(-self.jitter, self.jitter))  # noqa: S311 (no secret)

    def may(self, made: int) -> bool:
        """Whether another attempt may follow ``made`` of them."""
        return self.attempts is None or made < self.attempts


Retry.NONE = Retry(attempts=1)
