"""Keep a server running: start it again when it ended or lost a worker."""

import time
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from bionemo_ext.errors import RunError
from bionemo_ext.serving.local import LocalServer

# More restarts than this within the time are no accident: whoever runs us should know.
RESTARTS, WITHIN_S = 3, 600.0
_LOOK_EVERY_S = 0.2


def keep_running(
    server: LocalServer, on_fault: Callable[[str], None], on_ready: Callable[[], None]
) -> NoReturn:
    """Watch a started server for ever.

    Parameters
    ----------
    on_fault : callable
        Called with what is wrong, before the server is started again.
    on_ready : callable
        Called when it is ready again.

    Raises
    ------
    RunError
        If it does not start again, or needed to more than :data:`RESTARTS` times within
        :data:`WITHIN_S`.
    """
    faults: deque[float] = deque(maxlen=RESTARTS)
    while True:
        time.sleep(_LOOK_EVERY_S)
        try:
            server.check()
        except RunError as error:
            now = time.monotonic()
            if len(faults) == RESTARTS and now - faults[0] < WITHIN_S:
                raise RunError(
                    f"{error}; after {RESTARTS} restarts within {now - faults[0]:.0f} s it is not "
                    "started again"
                ) from None
            faults.append(now)
            on_fault(str(error))
            server.restart()
            on_ready()
