"""Prometheus metrics of the daemon: a thread that answers scrapes from what the loop left for it.

Laws: the loop never waits for a scrape; label values are words of closed lists and names of logging hosts, at most
MOST_HOSTS of them. A Unix socket is for root and the daemon's user; at a port, which only this host can reach, each of
its users may read. docs/status.md lists the metrics.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sink import __version__
from sink.config import CATEGORIES, Config, Listen
from sink.core.deliveries import STATUSES
from sink.endpoint import Endpoint
from sink.fault import CANTCREATE, TEMPFAIL, UNAVAILABLE, Fault
from sink.service import sockets
from sink.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

PATIENCE = 5.0  # seconds for a question and its answer: one is served at a time
MOST_QUESTION = 8192  # bytes
BACKLOG = 8
COUNTED = 5.0  # seconds for which a count of waiting rows is good
TYPE = "text/plain; version=0.0.4; charset=utf-8"

Status = Mapping[str, Any]
Values = Mapping[str, float | int | None]  # by label; "" where there is none


class Metric(NamedTuple):
    """A metric: its name, what it says, its label, and where its values are. A counter's name ends in _total."""

    name: str
    words: str
    values: Callable[[Status], Values]
    label: str = ""


def _plain(key: str) -> Callable[[Status], Values]:
    return lambda status: {"": status.get(key)}


def _by(key: str, words: Iterable[str] = ()) -> Callable[[Status], Values]:
    """Return values by word; of words that are named from the start on, since a rate begins at the second sample."""
    return lambda status: {**dict.fromkeys(words, 0), **status[key]}


def _lost(status: Status) -> Values:
    return {kind: status[f"connections_{kind}"] for kind in ("lost", "timed_out", "of_errors")}


def _trouble(status: Status) -> Values:
    last = status.get("last_trouble")
    return {} if last is None else {last["class"]: last["at"]}


def _well(status: Status) -> Values:
    return {"": int(status["database"] == "well") if "database" in status else None}


METRICS: Final = (
    Metric("build_info", "the version, as a label", lambda status: {__version__: 1}, "version"),
    Metric("start_timestamp_seconds", "when the daemon started", _plain("started")),
    Metric("updated_timestamp_seconds", "when these figures were looked at", _plain("now")),
    Metric("lines_total", "lines taken", _plain("lines")),
    Metric("postfix_lines_total", "lines of Postfix", _plain("postfix_lines")),
    Metric("ignored_lines_total", "lines of which nothing is wanted", _plain("ignored")),
    Metric("not_understood_lines_total", "lines that the grammar does not know", _by("not_understood_by_daemon"),
           "daemon"),
    Metric("not_syslog_lines_total", "lines without a syslog header", _plain("not_syslog")),
    Metric("too_long_lines_total", "lines over 64 KiB", _plain("too_long")),
    Metric("without_daemon_lines_total", "lines without the name of a daemon", _plain("without_daemon")),
    Metric("epoch_destroyed_lines_total", "lines of a time whose key is destroyed", _plain("epoch_destroyed")),
    Metric("deliveries_total", "new rows", _plain("deliveries")),
    Metric("rejects_total", "new refusals", _plain("rejects")),
    Metric("rejects_not_kept_total", "refusals of categories that are not kept", _plain("rejects_not_kept")),
    Metric("committed_rows_total", "rows by status; a line that comes again counts again",
           _by("statuses", STATUSES.values()), "status"),
    Metric("committed_rejects_total", "refusals by category, likewise", _by("categories", CATEGORIES), "category"),
    Metric("without_sender_rows_total", "rows without a sender", _plain("without_sender")),
    Metric("sampled_rows_total", "rows whose header columns were looked at",
           lambda status: {"": status["headers"]["rows"]}),
    Metric("sampled_header_rows_total", "those of them that have a header column",
           lambda status: status["headers"]["with"], "header"),
    Metric("open_messages", "open messages", _plain("open_messages")),
    Metric("oldest_open_timestamp_seconds", "first line of the message opened first", _plain("oldest_open")),
    Metric("evicted_messages_total", "open messages forgotten since there were too many", _plain("evicted")),
    Metric("dropped_datagrams_total", "datagrams dropped while the store could take no more", _plain("dropped")),
    Metric("log_lost_lines_total", "lines that could not be written to log or clear_ips", _plain("log_lines_lost")),
    Metric("host_last_line_timestamp_seconds", "when a host's log clock last moved",
           lambda status: {name: host["last_line"] for name, host in status["hosts"].items()}, "host"),
    Metric("hosts_not_named", "hosts beyond those", _plain("hosts_not_named")),
    Metric("last_commit_timestamp_seconds", "when something was committed last", _plain("last_commit")),
    Metric("not_committed_rows", "rows that wait for a commit", _plain("not_committed")),
    Metric("stuck", "1 while the store can't take more", lambda status: {"": int(status["stuck"])}),
    Metric("epoch", "number of the epoch of now", _plain("epoch")),
    Metric("epoch_start_timestamp_seconds", "when it began; not of the first", _plain("epoch_since")),
    Metric("resident_memory_bytes", "memory", _plain("memory")),
    Metric("sasl_failures_total", "logins that failed", _plain("sasl_failures")),
    Metric("connections_lost_total", "connections that ended badly", _lost, "kind"),
    Metric("outbox_rows", "rows that wait for the database; 100,000 of each table are counted", _plain("outbox")),
    Metric("outbox_oldest_timestamp_seconds", "log time of the oldest of them", _plain("outbox_since")),
    Metric("outbox_left_rows_total", "rows that have left for the database", _plain("outbox_left")),
    Metric("database_well", "1 where the database takes rows", _well),
    Metric("database_trouble_timestamp_seconds", "when there was trouble last, by its class", _trouble, "class"),
)  # fmt: skip
PREFIX: Final = "postsink_"


class Metrics:
    """What is scraped, and where; nothing at all where the config names no place. Faults: 69, 73, 75, 77."""

    def __init__(self, config: Config) -> None:
        self.endpoint = config.metrics
        self._thread = None if config.metrics is None else _Listener(config, config.metrics)

    def renewed(self, config: Config) -> "Metrics":
        """Return the metrics of another config, this one where their place is the same."""
        return self if config.metrics == self.endpoint else Metrics(config)

    def start(self, status: Callable[[], Status]) -> None:
        """Answer from now on."""
        self.show(status)
        if self._thread is not None:
            self._thread.start()

    def show(self, status: Callable[[], Status]) -> None:
        """Have this be what is scraped."""
        if self._thread is not None:
            self._thread.status = status()

    def close(self) -> None:
        """Answer no more."""
        if self._thread is not None:
            self._thread.stop()


class _Listener(threading.Thread):
    """Answers one scrape at a time."""

    def __init__(self, config: Config, endpoint: Endpoint) -> None:
        super().__init__(name="metrics", daemon=True)
        self.status: Status = {}
        self._connection: socket.socket | None = None  # of a scrape under way
        self._render = _renderer()
        self._path = endpoint.path
        self._store = None if config.database is None else config.store
        self._waiting: Status = {}
        self._counted = 0.0
        self._shown: tuple[Status, bytes] = ({}, b"")
        self._socket = _bound(endpoint)
        self._waking, self._woken = socket.socketpair()

    def stop(self) -> None:
        """End, whoever asks just now."""
        self._waking.close()
        if self._connection is not None:
            with suppress(OSError):  # it has ended by itself
                self._connection.shutdown(socket.SHUT_RDWR)
        if self.is_alive():
            self.join(PATIENCE)
        self._woken.close()
        self._socket.close()
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()

    def run(self) -> None:
        """Answer until stop()."""
        while True:
            ready = select.select([self._socket, self._woken], [], [])[0]
            if self._woken in ready:
                return
            with suppress(OSError):  # whoever asked has left, or no descriptor is free
                self._connection, _ = self._socket.accept()
                with self._connection:
                    self._serve(self._connection)

    def _serve(self, connection: socket.socket) -> None:
        if self._path is not None and sockets.peer(connection) not in {0, os.geteuid()}:
            return
        until, asked = time.monotonic() + PATIENCE, b""
        while b"\r\n\r\n" not in asked:
            connection.settimeout(max(until - time.monotonic(), 0.001))
            more = connection.recv(MOST_QUESTION)
            asked += more
            if not more or len(asked) > MOST_QUESTION:
                return
        connection.settimeout(PATIENCE)
        connection.sendall(self._answer(asked.split(b"\r\n", 1)[0]))

    def _answer(self, line: bytes) -> bytes:
        """Answer a request line; nothing of it is repeated."""
        method, _, rest = line.partition(b" ")
        if method != b"GET":
            return _response("405 Method Not Allowed", b"GET /metrics\n")
        if rest.partition(b" ")[0].partition(b"?")[0] != b"/metrics":
            return _response("404 Not Found", b"GET /metrics\n")
        status = self.status
        if self._shown[0] is not status:
            self._shown = status, self._render({**status, **self._counts()})
        return _response("200 OK", self._shown[1])

    def _counts(self) -> Status:
        """Return how many rows wait for the database, which may take a while to count."""
        now = time.monotonic()
        if self._store is not None and now >= self._counted + COUNTED:
            try:
                with SqliteStore.open(self._store) as store:
                    number, oldest = store.depth()
                self._waiting = {"outbox": number, "outbox_since": oldest}
            except Fault:  # it is busy; the loop tells what is wrong with it
                self._waiting = {}
            self._counted = time.monotonic()
        return self._waiting


def _response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode("ascii") + body


def _bound(endpoint: Endpoint) -> socket.socket:
    """Listen there."""
    if endpoint.path is not None:
        return sockets.bind(Listen("stream", endpoint.path))
    words = f"can't listen on {endpoint} for metrics; take another port, or unix:PATH where the unit allows no network"
    try:
        one = socket.socket(socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET)
    except OSError:
        raise Fault(CANTCREATE, words) from None
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((endpoint.address, endpoint.port))
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise Fault(TEMPFAIL, words) from None
    one.setblocking(False)
    return one


def _renderer() -> Callable[[Status], bytes]:
    """Return what makes Prometheus' text of figures."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError:
        words = "metrics need prometheus_client; type: apt-get install python3-prometheus-client"
        raise Fault(UNAVAILABLE, words) from None

    class Shown:
        """A collector of one status."""

        def __init__(self, status: Status) -> None:
            self._status = status

        def collect(self) -> "Iterator[CounterMetricFamily | GaugeMetricFamily]":
            """Give the metrics."""
            return families(self._status)

    def render(status: Status) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Shown(status))
        return generate_latest(registry)

    return render


def families(status: Status) -> "Iterator[CounterMetricFamily | GaugeMetricFamily]":
    """Give the metrics of a status; those without a value are left out."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for metric in METRICS:
        kind = CounterMetricFamily if metric.name.endswith("_total") else GaugeMetricFamily
        family = kind(PREFIX + metric.name, metric.words, labels=[metric.label] if metric.label else [])
        values = {label: value for label, value in metric.values(status).items() if value is not None}
        for label, value in values.items():
            family.add_metric([label] if metric.label else [], value)
        if values:
            yield family
