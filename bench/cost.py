"""Counts what a line costs: the steps of Python's interpreter in Pipeline.feed(), the same on any machine.

    python -m bench.cost              # steps a line, and the functions that take most
    python -m bench.cost --write      # note the number in bench/cost.json, as what is right from now on

A step is one bytecode, so that what a pattern, a hash or a store costs is not in it: `make bench` has the time. But a
loop that is entered too often, a cache that no longer hits, a copy too many show here, and no noise does. Versions of
Python differ; tests/unit/test_cost.py compares with the number of its own.
"""

import argparse
import gc
import io
import json
import sys
from collections import Counter
from ipaddress import ip_network
from pathlib import Path
from types import FrameType
from typing import Any

from bench import generate
from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.rules import Rules
from sink.core.syslog import Reader

NOTED = Path(__file__).with_suffix(".json")
WARM, COUNTED = 6_000, 4_000  # lines: caches fill, open messages gather
CHUNK = 500  # lines at a time
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def pipeline(journal: bool = False, **others: Any) -> Pipeline:
    """As an operator of the generated hosts has it; others: of Rules."""
    rules = Rules(
        local_domains=frozenset({b"example.com"}), trusted_networks=(ip_network("192.0.2.0/28"),),
        header_tokens=(generate.TOKEN,), **others,
    )  # fmt: skip
    return Pipeline(rules, [Epoch(1, None, None, bytes(32))], bytes(32), Reader(), journal)


def counted() -> Counter[str]:
    """Return the steps of each function while some lines are fed."""
    log = io.BytesIO()
    generate.write(log, WARM + COUNTED, 1)
    lines = log.getvalue().split(b"\n")[: WARM + COUNTED]
    chunks = [lines[start : start + CHUNK] for start in range(0, len(lines), CHUNK)]
    pipe = pipeline()
    steps: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            steps[frame.f_code.co_qualname] += 1
        return trace

    for chunk in chunks[: WARM // CHUNK]:
        pipe.feed(chunk)
    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        for chunk in chunks[WARM // CHUNK :]:
            pipe.feed(chunk)
    finally:
        sys.settrace(before)
        gc.enable()
    return steps


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m bench.cost", description="Count the steps of a line.")
    options.add_argument("--write", action="store_true", help="note the number")
    options.add_argument("--top", type=int, default=25, help="functions to show")
    given = options.parse_args()
    steps = counted()
    number = round(steps.total() / COUNTED, 1)
    print(f"{number:8.1f} steps a line, Python {VERSION}")
    for name, found in steps.most_common(given.top):
        print(f"{found / COUNTED:8.1f} {name}")
    if given.write:
        known = json.loads(NOTED.read_text()) if NOTED.exists() else {}
        NOTED.write_text(json.dumps({**known, VERSION: number}, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
