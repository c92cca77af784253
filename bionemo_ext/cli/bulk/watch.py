"""Progress of shards that others compute, seen from what is on the disk."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread

from bionemo_ext.client.jobs.shards import ShardFolder
from bionemo_ext.errors import RunError

_EVERY_S = 1.0


@contextmanager
def watched(
    folder: ShardFolder, indices: Sequence[int], advance: Callable[[int], None]
) -> Iterator[None]:
    """Count, in a thread, the records that shards gain.

    Parameters
    ----------
    folder : ShardFolder
        Where they lie.
    indices : sequence of int
        Which of them are computed.
    advance : callable
        Takes the number of records more.
    """
    kept = {index: folder.kept(index) for index in indices}
    ended = Event()

    def watch() -> None:
        while not ended.wait(_EVERY_S):
            for index, before in list(kept.items()):
                whole = folder.is_whole(index)
                try:
                    now = folder.kept(index)
                except RunError:
                    continue  # whoever reads it next says what is wrong
                # While a shard is finished its parts go one by one.
                kept[index] = max(before, now)
                advance(kept[index] - before)
                if whole:
                    del kept[index]

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
