"""The dashboards of packaging/grafana, and the alarms: each query is asked of a PostgreSQL or a Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from sink.service.metrics import METRICS
from tests.integration.asking import PATIENCE
from tests.integration.conftest import free_port
from tests.integration.live.confirming import deliver
from tests.integration.live.scraping import samples, scraping
from tests.integration.live.service import Service, eventually
from tests.integration.live.test_status import ANVIL, current
from tests.integration.postgres.driving import RESTLESS
from tests.integration.postgres.server import Database
from tests.judges.program import ROOT, Program
from tests.unit.test_docs import TOP, cells, section

pytest.importorskip("prometheus_client")

GRAFANA = TOP / "packaging/grafana"
ALERTS = TOP / "packaging/prometheus/alerts.yaml"
PROGRAMS = f"{ROOT}/build/unpacked/prometheus/usr/bin:/usr/bin:/usr/local/bin"
PROMETHEUS, PROMTOOL = (shutil.which(name, path=PROGRAMS) for name in ("prometheus", "promtool"))
has_prometheus = pytest.mark.skipif(not (PROMETHEUS and PROMTOOL), reason="Prometheus is not unpacked: make test")
# What Grafana's macros and variables become [Grafana, "Global variables", "PostgreSQL query editor"].
MACROS = {"$__timeFrom()": "'2026-11-01T00:00:00Z'", "$__timeTo()": "'2026-12-01T00:00:00Z'",
          "$__rate_interval": "5m", "$instance": ".*"}  # fmt: skip
BOARDS = {name: json.loads((GRAFANA / f"{name}.json").read_text()) for name in ("prometheus", "postgresql")}


def filled_in(text: str) -> str:
    for macro, value in MACROS.items():
        text = text.replace(macro, value)
    assert "$" not in text
    return text


def queries(name: str, key: str) -> list[Any]:
    """Each query of a dashboard, named by its panel."""
    return [
        pytest.param(panel, target, id=f"{panel['title']} {target['refId']}")
        for panel in BOARDS[name]["panels"] for target in panel["targets"] if key in target
    ]  # fmt: skip


# -- form


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_one(name: str) -> None:
    """What Grafana needs of each panel [Grafana, "Dashboard JSON model"]; no two lie upon each other."""
    board, kind = BOARDS[name], "prometheus" if name == "prometheus" else "postgres"
    assert board["id"] is None and board["uid"] and board["title"] and board["schemaVersion"] >= 36
    assert {variable["name"] for variable in board["templating"]["list"]} >= {"datasource"}
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels) > 10
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in {"stat", "timeseries", "barchart", "table"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells_of = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells_of, panel["title"]
        taken |= cells_of
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": kind, "uid": "${datasource}"} for source in sources)


# -- PostgreSQL


@pytest.mark.parametrize(("panel", "target"), queries("postgresql", "rawSql"))
def test_each_query_of_rows_finds_some(panel: dict[str, Any], target: dict[str, Any], filled: Database) -> None:
    """As a reader, who may see views alone; a panel of times has a time first, a number last, and one order."""
    with filled.connected("analyst") as connection:
        found = connection.execute(filled_in(target["rawSql"]).encode())
        names = [column.name for column in found.description or ()]
        rows = found.fetchall()
    assert len(names) == len(set(names)) >= 2
    assert rows or panel["title"] == "Replies", "no row comes of it"
    if target["format"] == "time_series":
        assert panel["type"] == "timeseries" and names[0] == "time"
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        assert names[1:] == ["metric", "value"] or all(isinstance(row[-1], int | float) for row in rows)
        assert {row[0].tzinfo is not None for row in rows} == {True}
    if panel["type"] == "barchart":
        assert all(isinstance(row[0], str) for row in rows), "Grafana takes the first text for the axis"


def test_numbers_of_panels_are_those_of_the_views(filled: Database) -> None:
    """Sums over a panel, and the rows of the view counted otherwise."""
    asked = {panel["title"]: filled_in(panel["targets"][0]["rawSql"]) for panel in BOARDS["postgresql"]["panels"]}
    rows = [row for row in filled.rows() if not row["is_internal"]]
    for title in ("Deliveries by direction", "Deliveries by status"):
        assert sum(row[2] for row in filled.ask(asked[title], "analyst")) == len(rows)
    assert dict(filled.ask(asked["Final outcomes"], "analyst")) == dict(
        filled.ask("SELECT status, count(*) FROM delivery_final GROUP BY 1", "analyst")
    )
    refusals = filled.ask(asked["Refusals by category"], "analyst")
    assert sum(row[2] for row in refusals) == len(filled.rows("reject_text"))
    subjects = sum(row["subject_size"] is not None for row in filled.rows()) / len(filled.rows())
    assert float(dict(filled.ask(asked["Header columns"], "analyst"))["subject_size"]) == pytest.approx(
        100 * subjects, abs=0.06
    )
    sizes = [row["message_size"] for row in filled.rows() if row["message_size"] is not None]
    assert sum(row[1] for row in filled.ask(asked["Sizes"], "analyst")) == len(sizes)


# -- Prometheus


class Prometheus:
    """A server on loopback that scrapes one daemon, with our rules."""

    def __init__(self, folder: Path, daemon: int) -> None:
        self._port = free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {"job_name": "postsink", "static_configs": [{"targets": [f"127.0.0.1:{daemon}"]}]},
            ],
        }  # fmt: skip
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._process = subprocess.Popen(
            [str(PROMETHEUS), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{self._port}", "--log.level=error"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, path: str, **values: str) -> Any:
        """The data of an answer; None while it does not answer yet."""
        place = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(values)}"
        try:
            with urllib.request.urlopen(place, timeout=PATIENCE) as answer:
                found = json.load(answer)
        except (ConnectionError, urllib.error.URLError) as error:
            early = isinstance(getattr(error, "reason", error), ConnectionError) or getattr(error, "code", 0) == 503
            assert early, error
            return None
        assert found["status"] == "success", found
        return found["data"]

    def value(self, query: str) -> list[dict[str, Any]]:
        found = self.ask("query", query=query)
        return [] if found is None else list(found["result"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def scraped(live: Program, database: Database, lines: list[bytes], folder: Path) -> Iterator[tuple[Prometheus, int]]:
    """A daemon with every trouble but a full disk, and a Prometheus that has scraped it while lines came."""
    port = free_port()
    with Service(live) as service:  # it has heard mx8 long ago, which now is silent
        deliver(service.stream, current("mx8", 4_000, "qmgr[1]: 4A5A321A867: removed"))
        service.stop()
    with database.away(), Service(scraping(live, f"127.0.0.1:{port}"), bug=RESTLESS) as service:
        server = Prometheus(folder, port)
        try:
            eventually(lambda: server.value("count_over_time(postsink_lines_total[1m]) >= 2"), PATIENCE)
            strange = current("mx1", 0, "smtpd[1]: nobody understands this", ANVIL)
            deliver(service.stream, [*lines, *strange * 200], 100)
            eventually(lambda: samples(port)["postsink_lines_total", ""] == len(lines) + 400, PATIENCE)
            eventually(lambda: server.value(f"postsink_lines_total >= {len(lines) + 400}"), PATIENCE)
            eventually(lambda: server.value("postsink_outbox_rows > 0"), PATIENCE)
            yield server, port
        finally:
            server.close()


@has_prometheus
def test_each_query_of_metrics_finds_some(
    live: Program, database: Database, some_lines: list[bytes], tmp_path: Path
) -> None:
    asked = [(panel["title"], filled_in(target["expr"]), target["legendFormat"])
             for panel in BOARDS["prometheus"]["panels"] for target in panel["targets"]]  # fmt: skip
    with scraped(live, database, some_lines, tmp_path) as (server, port):
        empty, nameless, shown = [], [], samples(port)
        for title, query, legend in asked:
            found = server.value(query)
            if not found:
                empty.append(title)
            wanted = re.findall(r"\{\{(\w+)\}\}", legend)
            nameless += [title for one in found if any(label not in one["metric"] for label in wanted)]
            assert all(one["value"][1] != "NaN" for one in found) or title in ("Not understood", "Header columns")
        (status,) = [query for title, query, _ in asked if title == "Deliveries by status"]
        sent = {one["metric"]["status"]: float(one["value"][1]) for one in server.value(status)}
        variable = BOARDS["prometheus"]["templating"]["list"][1]["query"]["query"]
        (name,) = re.findall(r"label_values\((\w+), instance\)", variable)
        assert len(server.value(name)) == 1
        groups = server.ask("rules")["groups"]
        firing = eventually_firing(server)
    assert (empty, nameless) == ([], [])
    assert sent.keys() == {label for (name, label), number in shown.items()
                           if name == "postsink_committed_rows_total" and number}  # fmt: skip
    assert [rule["name"] for rule in groups[0]["rules"] if rule["health"] == "err"] == []
    assert "PostsinkHostSilent" in firing
    assert "mx8 has logged nothing for" in firing["PostsinkHostSilent"]


def eventually_firing(server: Prometheus) -> dict[str, str]:
    """Summaries of the alarms that fire, once one does."""
    found: dict[str, str] = {}

    def fires() -> bool:
        alarms = server.ask("alerts")["alerts"]
        found.update({one["labels"]["alertname"]: one["annotations"]["summary"] for one in alarms})
        return "PostsinkHostSilent" in found

    eventually(fires, PATIENCE)
    return found


def test_panels_and_rules_name_metrics_that_are_there() -> None:
    """And most metrics stand in some panel."""
    texts = (GRAFANA / "prometheus.json").read_text(), ALERTS.read_text()
    known = {f"postsink_{metric.name}" for metric in METRICS}
    named = {name for text in texts for name in re.findall(r"postsink_[a-z_]+", text)}
    assert named <= known
    assert len(named) > len(known) // 2
    assert known == set(cells(section((TOP / "docs/status.md").read_text(), "## Prometheus"), 0))


# -- alarms

# By rule: series for promtool, one sample a minute [Prometheus, "Unit testing for rules"]. All begin at second 0.
WELL = {
    'up{job="postsink", instance="mx"}': "1x120",
    'postsink_updated_timestamp_seconds{instance="mx"}': "0+60x120",
    'postsink_stuck{instance="mx"}': "0x120",
    'postsink_host_last_line_timestamp_seconds{instance="mx", host="mx1"}': "0+60x120",
    'postsink_dropped_datagrams_total{instance="mx"}': "7x120",
    'postsink_evicted_messages_total{instance="mx"}': "7x120",
    'postsink_postfix_lines_total{instance="mx"}': "0+1000x120",
    'postsink_not_understood_lines_total{instance="mx", daemon="smtpd"}': "0+30x120",
    'postsink_not_understood_lines_total{instance="mx", daemon="smtp"}': "0+10x120",
    'postsink_database_well{instance="mx"}': "1x120",
    'postsink_outbox_oldest_timestamp_seconds{instance="mx"}': "0x120",  # of an archive, on its way
    'postsink_sampled_header_rows_total{instance="mx", header="any_header"}': "0+60x120",
    'postsink_sampled_rows_total{instance="mx"}': "0+70x120",
}
DAY = 24 * 60
TROUBLES: dict[str, dict[str, str]] = {
    "PostsinkDown": {'up{job="postsink", instance="mx"}': "0x120"},
    "PostsinkStandsStill": {'postsink_updated_timestamp_seconds{instance="mx"}': "0+60x100 6000x20"},
    "PostsinkStuck": {'postsink_stuck{instance="mx"}': "1x120"},
    "PostsinkHostSilent": {'postsink_host_last_line_timestamp_seconds{instance="mx", host="mx1"}': "0+60x80 4800x40"},
    "PostsinkDropsLines": {'postsink_dropped_datagrams_total{instance="mx"}': "7x115 9x5"},
    "PostsinkForgetsOpenMessages": {'postsink_evicted_messages_total{instance="mx"}': "7x115 900x5"},
    "PostsinkNotUnderstood": {'postsink_not_understood_lines_total{instance="mx", daemon="smtp"}': "0+30x120"},
    "PostsinkDatabaseAway": {
        'postsink_database_well{instance="mx"}': "0x120",
        'postsink_outbox_oldest_timestamp_seconds{instance="mx"}': "6000x120",
    },
    "PostsinkRowsWait": {'postsink_database_well{instance="mx"}': "1x115 0x5"},
    "PostsinkHeadersMissing": {
        'postsink_sampled_header_rows_total{instance="mx", header="any_header"}': f"0+60x{DAY} {60 * DAY}x240",
        'postsink_sampled_rows_total{instance="mx"}': f"0+70x{DAY + 240}",
    },
}


def test_each_rule_has_a_trouble() -> None:
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == list(TROUBLES)
    assert all({"summary", "description"} == rule["annotations"].keys() for rule in rules)


@has_prometheus
@pytest.mark.parametrize("name", ["", *TROUBLES])
def test_rules_tell_trouble_from_health(name: str, tmp_path: Path) -> None:
    """In each trouble just its own alarm fires; in health none does."""
    series = {**(WELL if name != "PostsinkHeadersMissing" else {}), **TROUBLES.get(name, {})}
    minute = DAY + 180 if name == "PostsinkHeadersMissing" else 120
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    wanted = [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name else []
    test = {
        "rule_files": [str(ALERTS)], "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m", "input_series": [{"series": one, "values": value} for one, value in series.items()],
            "promql_expr_test": [{"expr": firing, "eval_time": f"{minute}m", "exp_samples": wanted}],
        }],
    }  # fmt: skip
    assert name == "" or name in {rule["alert"] for rule in rules}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(tmp_path / "test.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
