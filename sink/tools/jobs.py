"""Processes of this machine that read the chains of an import, while the one that started them writes the rows.

They are forked when files, rules and keyring are open, so that nothing need be handed over, and before anything that a
fork would harm: the store, and the thread that drains it. What they send is pseudonymous. One that is killed is not
replaced, since it was most likely killed for want of memory: another one does its chain again, from the beginning, and
rows that are there change nothing (law 6).
"""

import gc
import marshal
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import Any, Self

from sink import hardening
from sink.core.pipeline import Pipeline
from sink.fault import OK, TEMPFAIL, Fault
from sink.hooks import SOFTWARE
from sink.sources.archive import Archive
from sink.sources.loggers import hosts_of
from sink.tools.chains import Chain, Parcel

_LOOK, _READ = 0, 1  # orders
_KILLED = "the processes of this import were killed, as for want of memory; start it again, with fewer --jobs"
_BUG = "a process of this import ended by a bug; please report the line above"


@dataclass(frozen=True, slots=True)
class Work:
    """What a process knows: files, dated and in order of time; what makes a pipeline; how many rows make a parcel."""

    archives: Sequence[Archive]
    pipeline: Callable[[], Pipeline]
    enough: int


@dataclass(eq=False, slots=True)
class _Worker:
    process: int
    pipe: Connection
    order: int = -1  # its number; -1: none


class Team:
    """Some processes. Use it as a context manager; they end with it."""

    def __init__(self, number: int, work: Work) -> None:
        self._workers: list[_Worker] = []
        sys.stdout.flush()  # else each would have, and write, what waits to be written
        for _ in range(number):
            ours, theirs = Pipe()
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            process = os.fork()
            if process == 0:
                for pipe in (ours, *(other.pipe for other in self._workers)):
                    pipe.close()  # else it would not see its end
                _live(theirs, work)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
            self._workers.append(_Worker(process, ours))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._workers:
            worker = self._workers.pop()
            worker.pipe.close()
            with suppress(ProcessLookupError):
                os.kill(worker.process, signal.SIGKILL)  # it keeps nothing
            os.waitpid(worker.process, 0)

    def hosts(self, files: int) -> list[set[bytes]]:
        """Look through all files; return the hosts of each."""
        found: list[set[bytes]] = [set() for _ in range(files)]
        for number, names in self._answers([(_LOOK, number) for number in range(files)]):
            found[number] = set(names)
        return found

    def read(self, chains: Sequence[tuple[list[int], set[bytes]]]) -> Iterator[tuple[int, Parcel]]:
        """Read chains (files, hosts), the first first; yield parcels, each with the number of its chain.

        Parcels of a chain that is done again come again.
        """
        orders = [(_READ, files, sorted(hosts)) for files, hosts in chains]
        for number, parts in self._answers(orders):
            yield number, Parcel.of(parts)

    def _answers(self, orders: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        """Have orders carried out; yield (number of the order, answer)."""
        waiting = deque(range(len(orders)))
        while True:
            for worker in [worker for worker in self._workers if worker.order < 0]:
                if waiting:
                    worker.order = waiting.popleft()
                    with suppress(OSError):  # it is gone, which is seen below
                        worker.pipe.send_bytes(marshal.dumps(orders[worker.order]))
            busy = {worker.pipe: worker for worker in self._workers if worker.order >= 0}
            if not busy:
                return
            ready = set(wait(list(busy)))
            for worker in [worker for pipe, worker in busy.items() if pipe in ready]:
                try:
                    fault, is_last, answer = marshal.loads(worker.pipe.recv_bytes())
                except (EOFError, OSError):
                    waiting.appendleft(worker.order)
                    self._bury(worker)
                    continue
                if fault is not None:
                    raise Fault(*fault)
                number = worker.order
                if is_last:
                    worker.order = -1
                yield number, answer

    def _bury(self, worker: _Worker) -> None:
        """Part with a process that has ended; Fault where it can't have been killed, or was the last."""
        self._workers.remove(worker)
        worker.pipe.close()
        status = os.waitpid(worker.process, 0)[1]
        if not os.WIFSIGNALED(status):
            raise Fault(SOFTWARE, _BUG)
        if not self._workers:
            raise Fault(TEMPFAIL, _KILLED)


def _live(pipe: Connection, work: Work) -> None:
    """Be a worker: carry out orders until there is nobody who gives any; never return."""
    status = SOFTWARE
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for all; who forked us ends us
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        hardening.hide()
        hardening.lock()  # a fork undoes it
        with suppress(EOFError, BrokenPipeError, ConnectionResetError):
            while True:
                _carry_out(marshal.loads(pipe.recv_bytes()), pipe, work)
                gc.collect()  # a chain's messages and hosts are a great cycle
        status = OK
    finally:
        if status != OK:
            sys.excepthook(*sys.exc_info())
        os._exit(status)


def _carry_out(order: tuple[Any, ...], pipe: Connection, work: Work) -> None:
    try:
        if order[0] == _LOOK:
            pipe.send_bytes(marshal.dumps((None, True, sorted(hosts_of(work.archives[order[1]])))))
            return
        files = [work.archives[number] for number in order[1]]
        for archive in files:
            archive.rewind()
        for parcel in Chain(files, set(order[2]), work.pipeline(), work.enough).parcels():
            pipe.send_bytes(marshal.dumps((None, parcel.outcome is not None, parcel.plain())))
    except Fault as fault:
        pipe.send_bytes(marshal.dumps(((fault.status, fault.message), True, None)))
