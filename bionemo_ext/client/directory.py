"""What there is on a server, and which endpoint and outputs give predictions of some tasks."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bionemo_ext.client.results import Prediction, Result
from bionemo_ext.client.wire.connection import Connection
from bionemo_ext.contract import PREDICTION, Endpoint, TaskInfo
from bionemo_ext.errors import InputError, NotFoundError


@dataclass(frozen=True)
class TaskPlan:
    """What to ask for.

    Parameters
    ----------
    endpoint : str
        Whom.
    outputs : tuple of str
        Which outputs of it, one a task.
    tasks : tuple of TaskInfo
        The tasks.
    """

    endpoint: str
    outputs: tuple[str, ...]
    tasks: tuple[TaskInfo, ...]

    @classmethod
    def of(cls, found: Sequence[tuple[Endpoint, TaskInfo]]) -> "TaskPlan":
        """Plan for tasks and their endpoints.

        Raises
        ------
        InputError
            If there is none, or they are of several models.
        """
        if not found:
            raise InputError("the name of a task is needed")
        infos = tuple(info for _, info in found)
        hosts = sorted({about.host for about, _ in found})
        if len(hosts) > 1:
            raise InputError(
                f"tasks of several models ({', '.join(hosts)}) have no pass to share: ask for "
                "those of one model at a time"
            )
        if len(infos) == 1:
            return cls(infos[0].name, (PREDICTION,), infos)
        # The encoder's endpoint has every task's output.
        return cls(hosts[0], tuple(info.name for info in infos), infos)

    def predictions(self, result: Result) -> list[Prediction]:
        """Read the predictions, in the order of the tasks."""
        return [
            Prediction(result.name, result.sequence, task, result.values[output])
            for task, output in zip(self.tasks, self.outputs, strict=True)
        ]


class Directory:
    """The endpoints of a server.

    Parameters
    ----------
    connection : Connection
        Whom to ask; it is asked anew each time, because a server may come back with other models.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def models(self) -> dict[str, Endpoint]:
        """Describe all endpoints by name."""
        names = await self._connection.endpoint_names()
        found = await asyncio.gather(*map(self._connection.endpoint, names))
        return dict(zip(names, found, strict=True))

    async def endpoint(self, name: str) -> Endpoint:
        """Describe one endpoint.

        Raises
        ------
        NotFoundError
            If there is none of that name; the message names those there are.
        """
        try:
            return await self._connection.endpoint(name)
        except NotFoundError:
            names = ", ".join(await self._connection.endpoint_names()) or "none"
            raise NotFoundError(
                f"the server has no endpoint {name!r}; its endpoints are: {names}"
            ) from None

    async def task(self, name: str) -> tuple[Endpoint, TaskInfo]:
        """Describe a task and its endpoint.

        Raises
        ------
        NotFoundError
            If there is none of that name; the message names those there are.
        """
        names = await self._connection.endpoint_names()
        about = await self._connection.endpoint(name) if name in names else None
        if about is None or about.task is None:
            tasks = [other for other, about in (await self.models()).items() if about.task]
            raise NotFoundError(
                f"the server has no task {name!r}; its tasks are: {', '.join(tasks) or 'none'}"
            )
        return about, about.task

    async def plan(self, tasks: Iterable[str]) -> TaskPlan:
        """Plan for tasks by name, each once."""
        return TaskPlan.of([await self.task(name) for name in dict.fromkeys(tasks)])
