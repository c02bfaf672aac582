"""A Dask cluster on loopback: a scheduler and workers, each a process of its own that a test may kill."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from pathlib import Path

from tests.integration.asking import PATIENCE, environment

# Runs Dask's command line, after some code of a test.
DRIVER = """\
import os, signal, sys
from pathlib import Path
from distributed.cli import {module}
from sink.tools import chains, errands

parcels = chains.Chain.parcels
folder = Path({folder!r})

def first(name):
    # Whether this is the first process that comes here.
    try:
        os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

{code}
sys.exit({module}.main())
"""


class Member:
    """One process, and what it logs."""

    def __init__(self, driver: str, *arguments: str | Path) -> None:
        self.logged: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-c", driver, "--host", "127.0.0.1", "--no-dashboard", *map(str, arguments)],
            env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.logged.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def until(self, words: str) -> None:
        """Wait until it has logged some words."""
        line: str | None = ""
        while line is not None and words not in line:
            line = self._lines.get(timeout=PATIENCE)
        assert line is not None, "".join(self.logged)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr
        self.process.stderr.close()


class Cluster:
    """Its processes, and a folder of their own."""

    def __init__(self, folder: Path, workers: int = 0, code: str = "", scheduler: str = "") -> None:
        self.folder = folder
        self.place = folder / "scheduler.json"
        driver = self._driver("dask_scheduler", scheduler)
        self.scheduler = Member(driver, "--port", "0", "--scheduler-file", self.place)
        self.members = [self.scheduler]
        self.scheduler.until("Scheduler at:")
        self.add(workers, code)

    def add(self, number: int, code: str = "") -> list[Member]:
        """Start some workers; code runs in each of them before it is one."""
        options = ("--scheduler-file", self.place, "--nthreads", "1", "--no-nanny", "--local-directory", self.folder)
        fresh = [Member(self._driver("dask_worker", code), *options) for _ in range(number)]
        self.members += fresh
        for one in fresh:
            one.until("Registered to:")
        return fresh

    def _driver(self, module: str, code: str) -> str:
        return DRIVER.format(module=module, folder=str(self.folder), code=code)

    def stop(self) -> str:
        """End all; return what they logged."""
        for one in reversed(self.members):
            one.kill()
        return "".join(line for one in self.members for line in one.logged)
