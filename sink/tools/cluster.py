"""The chains of an import as tasks of a Dask cluster; this process takes what the workers send, and writes it.

A worker that is lost loses nothing: Dask gives its chain to another one, from the beginning, and rows that are there
change nothing (law 6). Parcels come through a queue at the scheduler that holds a few, so that no worker runs ahead of
who writes.
"""

import logging
import marshal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sink.fault import TEMPFAIL, UNAVAILABLE, Fault
from sink.hooks import SOFTWARE
from sink.tools import errands
from sink.tools.chains import Parcel
from sink.tools.errands import Errand, File

try:
    import dask.config

    # Before distributed is loaded, which sets up logging: what it logs may be an address of a scheduler, or worse.
    _QUIET: Final = (
        "distributed", "distributed.client", "distributed.core", "tornado", "tornado.application", "asyncio",
    )  # fmt: skip
    dask.config.set({"logging": dict.fromkeys(_QUIET, "critical")})
    from distributed import Client, Queue, wait
except ImportError:
    raise Fault(UNAVAILABLE, "--scheduler needs Dask; type: apt-get install python3-distributed") from None
for _name in _QUIET:
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

_CONNECT: Final = 10  # seconds
_LOOK: Final = 1  # seconds between looks at tasks while nothing comes
_PATIENCE: Final = 60.0  # seconds without a worker
_LOST = "the Dask scheduler or its workers are gone; rows so far are kept; start the same import again to go on"
_AGAIN = "a chain was begun again and again, since its Dask workers were killed; look at their memory, and start again"


# What Dask raises where connections break, beside the classes of its own that are made of these.
_TROUBLES: Final = (OSError, CancelledError, RuntimeError, ValueError, KeyError)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn trouble with a scheduler into one line that says what to do."""
    try:
        yield
    except _TROUBLES:
        raise Fault(TEMPFAIL, _LOST) from None


class Cluster:
    """A connection to a scheduler. Use it as a context manager.

    moved: new rows that workers wrote into the database themselves, by table; empty where it does not tell.
    """

    def __init__(self, place: str, told: Errand, files: Sequence[File]) -> None:
        self.moved = {"delivery": 0, "reject": 0}
        self._told = told
        self._files = files
        try:
            where = {"scheduler_file": place} if Path(place).is_file() else {"address": place}
            self._client: Any = Client(**where, timeout=_CONNECT, name="postsink")
        except (OSError, TimeoutError, ValueError, TypeError, ImportError, RuntimeError):
            raise Fault(UNAVAILABLE, "no Dask scheduler answers there; see its address, its file, its TLS") from None
        self._queue: Any = None
        self._tasks: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(*_TROUBLES):
            if kind is not None:
                self._stop()
            if self._queue is not None:
                self._queue.close()
        with suppress(*_TROUBLES):
            self._client.close(timeout=_CONNECT)

    def _stop(self) -> None:
        """Have workers end what they do; those that wait with a parcel must be rid of it."""
        self._client.cancel(self._tasks, force=True)
        self._client.run(errands.end, self._told["name"], on_error="ignore")
        if self._queue is not None:
            self._queue.get(batch=True)

    @property
    def workers(self) -> int:
        """How many there are."""
        with _explained():
            return len(self._client.nthreads())

    def check(self) -> None:
        """See whether all workers can do the errand; Fault where one can't."""
        if not self.workers:
            raise Fault(TEMPFAIL, "the Dask scheduler has no workers; start some, such as: dask worker ADDRESS")
        with _explained():
            answers = self._client.run(errands.check, self._told, on_error="return").values()
        if any(isinstance(answer, BaseException) for answer in answers):  # it can't read what it is to do
            raise Fault(UNAVAILABLE, "a Dask worker finds no postsink like this one; install it there")
        for fault, _ in answers:
            if fault is not None:
                raise Fault(*fault)
        for missing in sorted({missing for _, missing in answers if missing}):
            print(f"postsink: of a Dask worker: {missing}", file=sys.stderr)

    def hosts(self) -> list[set[bytes]]:
        """Look through all files; return the hosts of each."""
        with _explained():
            self._tasks = [self._client.submit(errands.look, self._told, file, pure=False) for file in self._files]
        since = time.monotonic()
        while left := {number for number, task in enumerate(self._tasks) if not task.done()}:
            with _explained(), suppress(TimeoutError):
                wait([self._tasks[number] for number in left], timeout=_LOOK, return_when="FIRST_COMPLETED")
            since = self._look(left, since)
        found = []
        for task in self._tasks:
            self._see(task)
            with _explained():
                fault, names = task.result()
            if fault is not None:
                raise Fault(*fault)
            found.append(set(names))
        return found

    def read(self, chains: Sequence[tuple[list[int], set[bytes]]]) -> Iterator[tuple[int, Parcel]]:
        """Read chains (files by number, hosts), the first first; yield parcels, each with the number of its chain.

        Parcels of a chain that is done again come again.
        """
        with _explained():
            self._queue = Queue(self._told["name"], client=self._client, maxsize=errands.ROOM)
            self._tasks = [self._task(number, *chain) for number, chain in enumerate(chains)]
        left = set(range(len(chains)))
        heard: Counter[bytes] = Counter()  # parcels of each attempt: a worker that was thought to be lost may go on
        silent: set[int] = set()  # chains that have ended, and their end did not come
        since = time.monotonic()
        while left:
            message = self._next()
            if message is None:
                ended = {number for number in left if self._tasks[number].status == "finished"}
                if ended & silent:
                    raise Fault(TEMPFAIL, _LOST)
                silent = ended
                since = self._look(left, since)
                continue
            number, attempt, place, moved, parts = marshal.loads(message)
            if number not in left:
                continue
            heard[attempt] += 1
            if moved is None:
                self.moved.clear()
            elif self.moved:
                self.moved["delivery"] += moved[0]
                self.moved["reject"] += moved[1]
            parcel = Parcel.of(parts)
            if parcel.outcome is not None:
                if heard[attempt] != place + 1:
                    raise Fault(TEMPFAIL, _LOST)
                left.remove(number)
            yield number, parcel

    def _task(self, number: int, numbers: list[int], hosts: set[bytes]) -> Any:
        files = [self._files[place] for place in numbers]
        return self._client.submit(
            errands.read, self._told, number, files, sorted(hosts), pure=False, priority=-number
        )  # fmt: skip

    def _next(self) -> bytes | None:
        """Return the next message, None where none comes for some time."""
        with _explained():
            try:
                found: bytes = self._queue.get(timeout=_LOOK)
            except TimeoutError:
                return None
            return found

    def _look(self, left: set[int], since: float) -> float:
        """Look after tasks of which nothing is heard; return since when there was a worker."""
        for number in left:
            self._see(self._tasks[number])
        if self.workers:
            return time.monotonic()
        if time.monotonic() > since + _PATIENCE:
            raise Fault(TEMPFAIL, _LOST)
        return since

    def _see(self, task: Any) -> None:
        """Raise a Fault where Dask has given a task up."""
        if task.status in ("cancelled", "lost"):
            raise Fault(TEMPFAIL, _LOST)
        if task.status == "error":
            kind = type(task.exception()).__name__
            if kind == "KilledWorker":
                raise Fault(TEMPFAIL, _AGAIN)
            raise Fault(SOFTWARE, f"a Dask worker can't do its task: {kind}; see whether postsink is installed there")
