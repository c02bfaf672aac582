"""doctor against the real programs: rsyslogd and syslog-ng do with lines what it says of their rules; Debian's own
configuration is clean after enable, and is not before; the clean hosts of tests/data/hosts are taken by rsyslogd.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from sink.tools.doctor.probe import FACILITIES, SEVERITIES, Probe, probes
from sink.tools.doctor.rsyslog import Rsyslog
from sink.tools.doctor.syslogng import SyslogNg
from sink.tools.doctor.tree import Tree
from tests import hosts
from tests.integration import rules
from tests.integration.asking import PATIENCE
from tests.integration.live.rsyslogd import libraries
from tests.integration.live.service import eventually
from tests.integration.rules import Dice
from tests.judges.program import ROOT

UNPACKED = ROOT / "build" / "unpacked"
CASES = 12
LINES = probes()
LAST = Probe("local7", "debug", "last")
Files = dict[str, set[int]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of a short name: syslog-ng tells its sockets apart by the first sixty letters of their paths."""
    with tempfile.TemporaryDirectory(prefix="postsink-") as name:
        yield Path(name)


def unpacked(package: str) -> Path:
    top = UNPACKED / package
    if not top.is_dir():
        pytest.skip(f"{package} is not unpacked: packaging/prepare debian")
    return top


def environment(top: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libraries(top)}


def log(path: Path, probe: Probe, number: int) -> None:
    """As Postfix does; the number tells the line again."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        priority = FACILITIES[probe.facility] * 8 + SEVERITIES[probe.severity]
        client.send(f"<{priority}>Nov  2 08:00:12 mx1 {probe.tag}[1]: #{number}# to=x\n".encode())


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        return client.connect_ex(str(path)) == 0


def written(files: Iterable[Path]) -> Files:
    """The numbers of the lines in each file, but for that of the last one."""
    return {
        str(path): {int(found) for found in re.findall(r"#(\d+)#", path.read_text())} - {len(LINES)} for path in files
    }


def run(words: Sequence[str], top: Path, folder: Path, sockets: list[Path]) -> Files:
    """Have a daemon take all lines on each of its sockets, and a last one, which gets into the file last-N."""
    process = subprocess.Popen(
        words, env=environment(top), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: all(listens(path) for path in sockets))
        for path in sockets:
            for number, probe in enumerate([*LINES, LAST]):
                log(path, probe, number)
        last = [folder / "out" / f"last-{number}" for number in range(len(sockets))]
        eventually(lambda: all(path.exists() and path.stat().st_size for path in last))
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait(PATIENCE)
    return written(path for path in (folder / "out").iterdir() if path not in last)


def compare(case: str, got: Files, sure: Files, maybe: Files) -> None:
    """What doctor is sure of has happened, and nothing has happened that it did not see coming."""
    for path in {*got, *sure, *maybe}:
        lines, certain = got.get(path, set()), sure.get(path, set())
        assert certain <= lines, f"{path} lacks lines: {case}"
        assert lines <= certain | maybe.get(path, set()), f"{path} was not foreseen: {case}"


@pytest.mark.parametrize("slash", ["off", "on"])
def test_rsyslogd_does_what_doctor_says_of_its_rules(
    folder: Path, pytestconfig: pytest.Config, slash: str
) -> None:
    top = unpacked("rsyslog")
    (folder / "out").mkdir()
    (folder / "etc").mkdir()
    dice = Dice(pytestconfig.getoption("--seed"), folder / "out")
    alone = [f"{each} {dice.file(0)}\n" for each in (*rules.SELECTORS, *rules.PROPERTIES)]
    alone += [f"if {each} then {dice.file(0)}\n" for each in rules.EXPRESSIONS]
    cases = ["".join(alone), *(rules.rsyslog(dice, case) for case in range(1, CASES))]
    text = f'module(load="imuxsock" SysSock.Use="off")\nglobal(parser.permitSlashInProgramname="{slash}")\n'
    for number, case in enumerate(cases):
        text += f'ruleset(name="r{number}") {{\nlocal7.debug {folder}/out/last-{number}\n{case}}}\n'
        text += f'input(type="imuxsock" Socket="{folder}/s{number}" ruleset="r{number}" RateLimit.Interval="0"\n'
        text += '    UseSpecialParser="off" ParseHostname="on")\n'
    config = folder / "etc/rsyslog.conf"
    config.write_text(text)
    modules = next(top.rglob("omfile.so"), next(top.rglob("omprog.so"))).parent
    words = [f"{top}/usr/sbin/rsyslogd", "-n", "-f", str(config), "-M", str(modules), "-i", f"{folder}/pid"]
    checked = subprocess.run([*words, "-N1"], env=environment(top), capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    got = run(words, top, folder, [folder / f"s{number}" for number in range(len(cases))])
    read = Rsyslog(Tree(folder))
    assert read.script.not_understood == []
    for number, case in enumerate(cases):
        sure: Files = {}
        maybe: Files = {}
        for line, probe in enumerate(LINES):
            for outlet in read.walk(probe, f"r{number}").outlets:
                (sure if outlet.sure else maybe).setdefault(outlet.action.given["file"] or "", set()).add(line)
        mine = {path: lines for path, lines in got.items() if Path(path).name.startswith(f"{number}-")}
        compare(case, mine, sure, maybe)


def test_syslog_ng_does_what_doctor_says_of_its_log_paths(folder: Path, pytestconfig: pytest.Config) -> None:
    top = unpacked("syslog-ng-core")
    (folder / "out").mkdir()
    dice = Dice(pytestconfig.getoption("--seed"), folder / "out")
    alone = "\n".join(
        f'log {{ source(s_0); filter {{ {each}; }}; destination {{ file("{dice.file(0)}" template("$MSG\\n")); }}; }};'
        for each in rules.FILTERS
    )
    cases = [alone, *(rules.syslog_ng(dice, case) for case in range(1, CASES))]
    text = f"@version: 3.38\n{rules.NAMED}"
    parts = []
    for number, case in enumerate(cases):
        source = f'source s_{number} {{ unix-dgram("{folder}/s{number}" flags(expect-hostname)); }};\n'
        last = f'filter {{ program("^last$"); }}; destination {{ file("{folder}/out/last-{number}"); }};'
        parts.append(f"{source}{case}\n")
        text += f"{source}log {{ source(s_{number}); {last} }};\n{case}\n"
    config = folder / "syslog-ng.conf"
    config.write_text(text)
    modules = next(top.rglob("libaffile.so")).parent
    words = [f"{top}/usr/sbin/syslog-ng", "-f", str(config), "--no-caps", f"--module-path={modules}", "-F"]
    words += ["-R", f"{folder}/persist", "-p", f"{folder}/pid", "-c", f"{folder}/ctl"]
    got = run(words, top, folder, [folder / f"s{number}" for number in range(len(cases))])
    for number, part in enumerate(parts):
        root = folder / "roots" / str(number)
        (root / "etc/syslog-ng").mkdir(parents=True)
        (root / "etc/syslog-ng/syslog-ng.conf").write_text(f"@version: 3.38\n{rules.NAMED}{part}")
        read = SyslogNg(Tree(root), frozenset())
        assert read.configuration.not_understood == []
        sure: Files = {}
        maybe: Files = {}
        for line, probe in enumerate(LINES):
            for outlet in read.walk(probe).outlets:
                (sure if outlet.sure else maybe).setdefault(outlet.driver.target, set()).add(line)
        mine = {path: lines for path, lines in got.items() if Path(path).name.startswith(f"{number}-")}
        compare(part, mine, sure, maybe)


@pytest.mark.parametrize("name", ["bookworm-rsyslog", "trixie-rsyslog", "ubuntu"])
def test_rsyslogd_takes_the_clean_hosts(name: str, folder: Path) -> None:
    """So that they are what a host may have, and not what only doctor can read."""
    top = unpacked("rsyslog")
    hosts.make(name, folder)
    (folder / "var/spool/rsyslog").mkdir(parents=True)
    for path in (folder / "etc").rglob("*.conf"):
        text = re.sub(r"(?<![\w/])/(etc|var)/", rf"{folder}/\1/", path.read_text())
        path.write_text(re.sub(r"^\$(?:PrivDropTo|FileOwner).*$", "", text, flags=re.M))  # users of another machine
    modules = next(top.rglob("omprog.so")).parent
    words = [f"{top}/usr/sbin/rsyslogd", "-N1", "-f", f"{folder}/etc/rsyslog.conf", "-M", str(modules)]
    done = subprocess.run(words, env=environment(top), capture_output=True, text=True, check=False, timeout=PATIENCE)
    wrong = [line for line in done.stderr.split("\n") if "rror" in line]
    assert done.returncode == 0 and wrong == []


def test_syslog_ng_takes_the_clean_host(folder: Path) -> None:
    top = unpacked("syslog-ng-core")
    hosts.make("syslog-ng", folder)
    home = folder / "etc/syslog-ng"
    library = next(top.rglob("scl/getvirtconsole")).parent
    scl = home / "scl.conf"
    scl.write_text(f'@define scl-root "{library}"\n' + scl.read_text().replace("'scl/", f"'{library}/"))
    main_file = home / "syslog-ng.conf"
    main_file.write_text(main_file.read_text().replace('"scl.conf"', f'"{scl}"').replace('"/etc/', f'"{folder}/etc/'))
    modules = next(top.rglob("libaffile.so")).parent
    words = [f"{top}/usr/sbin/syslog-ng", "-s", "-f", str(main_file), "--no-caps", f"--module-path={modules}"]
    done = subprocess.run(words, env=environment(top), capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
