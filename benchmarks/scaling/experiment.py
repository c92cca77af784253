"""What is measured, in which order; each step is printed when it ends."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.scaling.load import Closed, Pattern, Poisson
from benchmarks.scaling.report import HEADER, row
from benchmarks.scaling.steps import WARM_UP, Step, measure
from bionemo_ext.cli.progress import progress
from bionemo_ext.serving import LocalServer

AT_ONCE = (1, 2, 4, 8, 16, 32)
# Shares of the saturation rate, and how many steps each lasts: the nearer to saturation, the
# longer a queue takes to show what it is.
SHARES = {0.5: 1, 0.8: 2, 0.9: 3, 1.0: 6, 1.2: 3}
TURNS = 2
# Of load before one is killed, until it is started again, and after it is back, in steps.
KILL_STEPS = 0.5
KILL_AT_ONCE = 16


class Experiment:
    """Two replicas that run, and what is asked of them.

    Parameters
    ----------
    servers : sequence of LocalServer
        Two.
    proteins : sequence of str
        What is asked for.
    seconds : float
        Of a step.
    advance : callable
        Told the seconds that a step took.
    """

    def __init__(
        self,
        servers: Sequence[LocalServer],
        proteins: Sequence[str],
        seconds: float,
        advance: Callable[[int], None],
    ) -> None:
        self.servers, self.proteins, self.seconds = servers, proteins, seconds
        self._advance = advance

    def one(self) -> list[Step]:
        """One replica, under more and more requests at once."""
        print(HEADER)
        return [self._take(self.servers[:1], Closed(n), f"{n} at once") for n in AT_ONCE]

    def turns(self) -> list[tuple[Step, Step]]:
        """One replica, each of both in its turn, and both: what drifts meets one and two alike."""
        most = max(AT_ONCE)
        pairs = []
        for turn in range(TURNS):
            place = turn % len(self.servers)
            one = self._take(self.servers[place : place + 1], Closed(most), f"{most} at once")
            two = self._take(self.servers, Closed(2 * most), f"{2 * most} at once")
            pairs.append((one, two))
        return pairs

    def shares(self, per_s: float, seed: int) -> list[tuple[float, Step]]:
        """One replica, requests at random times at shares of its rate ``per_s``."""
        steps = []
        for share, length in SHARES.items():
            pattern = Poisson(share * per_s, seed)
            text = f"{share:.0%} of rate"
            steps.append((share, self._take(self.servers[:1], pattern, text, length)))
        return steps

    def _take(
        self, servers: Sequence[LocalServer], pattern: Pattern, load: str, length: int = 1
    ) -> Step:
        step = measure(servers, self.proteins, pattern, length * self.seconds)
        print(row(step, load), flush=True)
        self._advance(round(length * self.seconds * (1 + WARM_UP)))
        return step


@contextmanager
def experiment(
    repository: Path, proteins: Sequence[str], threads: int, seconds: float
) -> Iterator[Experiment]:
    """Start two replicas, and a bar that counts the seconds of all steps."""
    steps = len(AT_ONCE) + 2 * TURNS + sum(SHARES.values())
    with ExitStack() as stack:
        servers = [stack.enter_context(LocalServer(repository, threads=threads)) for _ in range(2)]
        advance = stack.enter_context(
            progress(round(seconds * steps * (1 + WARM_UP)), "scaling", unit="")
        )
        yield Experiment(servers, proteins, seconds, advance)
