"""Metrics of the packaged daemon: a port of the host leads to them, and the daemon keeps having no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.package.living import CONFIG, change, check_exposure, enable, installed
from tests.package.machine import Machine, eventually
from tests.package.suites import Suite

UNITS = "postsink-metrics.socket postsink-metrics.service"
TO_A_PORT = (
    f"cd /usr/share/doc/postsink/examples; cp {UNITS} /etc/systemd/system/; systemctl daemon-reload;"
    " systemctl enable --now postsink-metrics.socket"
)
MOST_EXPOSED = 1.5  # of systemd-analyze security, of ten


def scraped(machine: Machine) -> dict[str, float]:
    """What a user without any rights scrapes; empty where nobody answers."""
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9154/metrics', timeout=9).read().decode())"
    said = machine.ask(f'runuser -u nobody -- python3 -c "{script}"')
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in said.split("\n") if line[:1] == "p"}


def metrics_come_by_a_port_and_the_daemon_has_no_network(suite: Suite) -> None:
    """Under all restrictions of the unit; also after a restart, and a reload into a config that these forbid."""
    library = Path(pytest.importorskip("prometheus_client").__file__).parent  # a machine has no network either
    with installed(suite, suite.mailing, "rsyslog", shared=library) as (machine, host):
        machine.run("cp -r /shared/prometheus_client /usr/lib/python3/dist-packages/")
        change(machine, "metrics", "unix:/run/postsink/metrics.sock")
        machine.run("systemctl restart postsink; test $(stat -c %U%a /run/postsink/metrics.sock) = _postsink600")
        machine.run(TO_A_PORT)
        assert machine.run(f"systemd-analyze verify --man=no {UNITS} 2>&1 | grep postsink-metrics || true") == ""
        machine.run(
            f"systemd-analyze security --no-pager --threshold={MOST_EXPOSED * 10:.0f} postsink-metrics.service"
        )
        enable(machine, "rsyslog")
        host.post(10)
        host.check()
        eventually(lambda: scraped(machine).get('postsink_committed_rows_total{status="sent"}', 0) >= 1, "rows")
        found, heard = scraped(machine), 'postsink_host_last_line_timestamp_seconds{host="mx1"}'
        assert found[heard] > found["postsink_start_timestamp_seconds"]
        machine.run("systemctl restart postsink")
        assert scraped(machine)["postsink_stuck"] == 0
        machine.run(f"sed -i 's|^metrics:.*|metrics: 127.0.0.1:9155|' {CONFIG}; systemctl reload postsink")
        refused = "not reloaded: can't listen on 127.0.0.1:9155 for metrics"
        eventually(lambda: refused in machine.run("journalctl --no-pager --boot --unit postsink.service"), refused)
        assert scraped(machine)["postsink_stuck"] == 0
        machine.run(f"sed -i 's|^metrics:.*|metrics: unix:/run/postsink/metrics.sock|' {CONFIG}")
        machine.run("systemctl reload postsink; postsink status --check --max-silence 1h")
        check_exposure(machine)
