"""The one object that everything drives: lines in, batches of rows out.

`run`, `import`, `explain` and the tests call feed() and tick() and commit each Batch in one transaction. Pure: no
file, socket, clock or log. What it counts it counts by daemon and reason, never by text.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sink.core.addressbook import NOBODY
from sink.core.correlate import MOST_RECENT, Correlator, Host
from sink.core.deliveries import Event
from sink.core.messages import Message
from sink.core.parse import BAD_SYNTAX, SESSION, Parser
from sink.core.pseudonym import WIDTH, Pseudonyms, Tokens
from sink.core.queueid import is_queue_id
from sink.core.rows import SENDER_KIND, Row
from sink.core.rules import Rules
from sink.core.settle import NO_SENDER
from sink.core.state import decode_host, decode_link, decode_message, encode_host, encode_link, encode_message
from sink.core.syslog import MOST_LINE, Reader
from sink.core.tags import Program

NOWHERE = Host(b"")


class Epoch(NamedTuple):
    """A range of log time [since, until) in UTC seconds (None: open) and its secret; None is destroyed."""

    number: int
    since: int | None
    until: int | None
    secret: bytes | None

    def __repr__(self) -> str:
        return f"Epoch(number={self.number})"


class Batch(NamedTuple):
    """What one transaction commits: rows, refusals, and changes of open messages by token."""

    rows: list[Row]
    rejects: list[Row]
    puts: dict[bytes, bytes]
    drops: list[bytes]
    again: list[Row]  # rows that preview() showed before they were settled: they replace what it showed


class Pipeline:
    """Turns syslog lines of one stream into rows.

    counts: lines, postfix_lines, delivery_lines, expired_lines, rejects, rejects_not_kept, ignored, not_understood,
    not_syslog, too_long, without_sender, without_daemon, epoch_destroyed, forgotten_*;
    and "not_understood:DAEMON" for each daemon.
    """

    def __init__(
        self,
        rules: Rules,
        epochs: Sequence[Epoch],
        correlation: bytes,
        reader: Reader,
        journal: bool = False,
        naming: Callable[[bytes, bool], Pseudonyms] = Pseudonyms,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.reader = reader
        self._rules = rules
        self._naming = naming
        self._epochs = tuple(epochs)
        self._tokens = Tokens(correlation)
        first = self._epochs[0]
        always = len(self._epochs) == 1 and first.since is None and first.until is None
        self._only = first if always and first.secret is not None else None
        self.watched = False  # whether apply() is to see every event, which costs
        self._parsers: dict[int, Parser] = {}
        self._rejects: list[Row] = []
        self._shown: set[bytes] = set()  # delivery keys that an earlier run's preview() showed
        self._correlator = Correlator(rules, self.counts)
        if journal:
            self._correlator.changed = {}

    # -- lines

    def feed(self, lines: Sequence[bytes]) -> Batch:
        """Take lines without their newline; return what they and the log time they bring let leave."""
        counts, correlator = self.counts, self._correlator
        hosts, learn = correlator.hosts, correlator.learn
        strange = ignored = nameless = unread = 0
        name: bytes | None = None  # a line without a host has an empty one
        host = NOWHERE
        for record in self.reader.records(lines):
            if record is None:
                unread += 1
                continue
            second, micros, named, (program, pid), text = record
            _, daemon, postfix, words = program
            if not postfix:
                strange += 1
                continue
            if daemon is None:
                nameless += 1
            if named != name:
                name, host = named, hosts.get(named) or correlator.host(named)
            if second != host.clock or host.strays:
                correlator.hear(host, second)
            at = text.find(b": ", 5, 22)
            message = host.recent.get(text[:at]) if at > 0 else None
            if message is None or message.gone:
                if at < 0 or not self._take_first(host, second, int(micros), program, pid, text, at):
                    if text.partition(b" ")[0] in words:
                        ignored += 1
                    else:
                        self._not_understood(program)
                continue
            handler = message.handlers.get(text[at + 2 : at + 6])
            event = None if handler is None else handler(name, daemon, text[at + 2 :])
            if event is None:
                event = self._parsers[message.epoch].parse_rest(name, daemon, text[at + 2 :])
            if event is None:
                self._not_understood(program)
            elif event[1] is event[2] is event[3] and not self.watched:
                learn(host, message, second, int(micros), event[0])
            else:
                self.apply(host, message, second, int(micros), program, pid, text, event)
        long = sum(len(line) > MOST_LINE for line in lines) if unread else 0
        counts["lines"] += len(lines)
        counts["postfix_lines"] += len(lines) - strange - unread
        counts["too_long"] += long
        counts["not_syslog"] += unread - long
        counts["ignored"] += ignored
        counts["without_daemon"] += nameless
        return self._batch()

    def _not_understood(self, program: Program) -> None:
        self.counts["not_understood"] += 1
        self.counts["not_understood:" + (program.daemon or "unknown")] += 1

    def _take_first(
        self, host: Host, second: int, micros: int, program: Program, pid: bytes, text: bytes, at: int
    ) -> bool:
        """Take a text whose queue id was not met lately; False where it has none, or nothing is known of it."""
        queue_id = text[:at]
        if not is_queue_id(queue_id):
            return self._take_noqueue(host, second, micros, program, pid, text, at)
        found = self._understood(host, queue_id, second, program, text[at + 2 :])
        if found is None:
            return False
        self.apply(host, found[0], second, micros, program, pid, text, found[1])
        return True

    def _understood(
        self, host: Host, queue_id: bytes, second: int, program: Program, text: bytes
    ) -> tuple[Message, Event] | None:
        """Parse a text of a queue id that was not met lately; return its message, opened if it is new, and the event.

        A text that is not understood opens nothing: no fact came of it.
        """
        token = self._tokens.token(host.name, queue_id)
        message = self._correlator.messages.get(token)
        epoch = self._epoch(second) if message is None else None
        parser = self._parsers.get(message.epoch) if message is not None else epoch and self._parser(epoch)
        event = parser.parse(host.name, program.daemon, text) if parser else None
        if parser is None or event is None:
            return None
        if message is None and epoch is not None:
            hidden = parser.pseudonyms.queue_id(queue_id)
            message = self._correlator.message(host, token, hidden, epoch.number, second)
            message.handlers = parser.handlers
        assert message is not None
        if len(host.recent) >= MOST_RECENT:
            host.recent = {known: found for known, found in host.recent.items() if not found.gone}
            if len(host.recent) >= MOST_RECENT // 2:
                host.recent.clear()
        host.recent[queue_id] = message
        return message, event

    def apply(
        self, host: Host, message: Message, second: int, micros: int, program: Program, pid: bytes, text: bytes,
        event: Event,
    ) -> None:  # fmt: skip
        """Give an event to its message; its attempt waits, its refusal leaves."""
        correlator = self._correlator
        correlator.apply(host, message, second, micros, event)
        _, attempt, refusal, _ = event
        if attempt is not None:
            self.counts["delivery_lines" if attempt[0] is not None else "expired_lines"] += 1
            parser = self._own_parser(second)
            if parser is None:
                return
            key = parser.pseudonyms.delivery_key(host.name, second, pid, text.rstrip())
            correlator.wait(host, message, second, micros, key, program.instance, program.daemon, attempt)
        elif refusal is not None:
            self.refuse(host, second, micros, program, pid, text, refusal[-1], event)

    def refuse(
        self, host: Host, second: int, micros: int, program: Program, pid: bytes, text: bytes, category: str,
        event: Event,
    ) -> None:  # fmt: skip
        """Let a refusal leave, unless its category is not kept."""
        if category in self._rules.dropped_rejects:
            self.counts["rejects_not_kept"] += 1
            return
        epoch = self._epoch(second)
        refusal = event[2]
        if epoch is None or refusal is None:
            return
        stage, code, dsn, sender, recipient, _ = refusal
        self.counts["rejects"] += 1
        key = self._parser(epoch).pseudonyms.reject_id(host.name, second, micros, pid, text.rstrip())
        kind, user, domain, *_ = sender or NO_SENDER
        user_to, domain_to, _ = recipient or NOBODY
        halves = b"".join((key, user, domain, user_to, domain_to))
        self._rejects.append(
            (
                second, halves, micros, epoch.number, host.text, program.instance, program.daemon or "", stage,
                code or "", dsn or "", kind, category,
            )
        )  # fmt: skip

    def _take_noqueue(
        self, host: Host, second: int, micros: int, program: Program, pid: bytes, text: bytes, at: int
    ) -> bool:
        """Take what smtpd and postscreen say without a queue id; a proxied session stands for one."""
        rest = text[at + 2 :] if text.startswith(b"NOQUEUE: ") else text
        begin = rest[:4]
        if begin in (b"clie", b"prox") and not rest.startswith(b"proxy-reject"):
            if text is rest and begin == b"clie":
                return False  # a client= without a queue id and without NOQUEUE is masked
            found = self._understood(host, SESSION + pid, second, program, rest)
            if found is not None:
                self.apply(host, found[0], second, micros, program, pid, text, found[1])
            return found is not None
        parser = self._own_parser(second)
        if parser is None:
            return False
        if begin in (b"reje", b"milt", b"prox") or rest.startswith(BAD_SYNTAX):
            event = parser.parse(host.name, program.daemon, rest)
            if event is not None and event[2] is not None:
                self.refuse(host, second, micros, program, pid, text, event[2][-1], event)
                return True
        if text is not rest and parser.parse(host.name, program.daemon, rest) is not None:
            self.counts["ignored"] += 1
            return True
        return False

    # -- epochs

    def _epoch(self, second: int) -> Epoch | None:
        for epoch in self._epochs:
            if (epoch.since is None or epoch.since <= second) and (epoch.until is None or second < epoch.until):
                if epoch.secret is None:
                    self.counts["epoch_destroyed"] += 1
                    return None
                return epoch
        return None

    def _parser(self, epoch: Epoch) -> Parser:
        parser = self._parsers.get(epoch.number)
        if parser is None:
            assert epoch.secret is not None
            pseudonyms = self._naming(epoch.secret, self._rules.plain_queue_id)
            parser = self._parsers[epoch.number] = Parser(pseudonyms, self._rules)
        return parser

    def _own_parser(self, second: int) -> Parser | None:
        """Return the parser of the epoch that holds a line's own time."""
        if self._only is not None:
            return self._parser(self._only)
        epoch = self._epoch(second)
        return None if epoch is None else self._parser(epoch)

    # -- time and state

    def tick(self, now: float) -> Batch:
        """Let wall clock pass: now in seconds of any clock that only grows."""
        self._correlator.tick(now)
        return self._batch()

    def flush(self) -> Batch:
        """Let all rows leave, since no line will follow."""
        self._correlator.flush()
        return self._batch()

    def preview(self) -> Batch:
        """Return the rows that wait as they would be now; they go on waiting.

        For an import that another one follows: its last rows may be kept at once, and are replaced where
        the next file's first lines say more.
        """
        shown = self._correlator.preview()
        self._count_senders(shown)
        again = [row for row in shown if row[1][:WIDTH] in self._shown]
        return Batch([row for row in shown if row[1][:WIDTH] not in self._shown], [], {}, [], again)

    def open_messages(self) -> int:
        """Return the number of open messages."""
        return len(self._correlator.messages)

    def state(self) -> dict[bytes, bytes]:
        """Return the whole open state by token, for a store."""
        correlator = self._correlator
        found = {token: encode_message(message) for token, message in correlator.messages.items()}
        found.update(self._links(None))
        found.update((b"host:" + host.name, encode_host(host)) for host in correlator.hosts.values())
        return found

    def _links(self, wanted: Collection[bytes] | None) -> dict[bytes, bytes]:
        """Return links whose child was not seen, by the token they are kept under."""
        return {
            token: encode_link(host.name, queue_id, fact)
            for host in self._correlator.hosts.values()
            for queue_id, fact in host.named.items()
            for token in (b"link:" + host.name + b":" + queue_id,)
            if wanted is None or token in wanted
        }

    def resume(self, state: dict[bytes, bytes], shown: bool = False) -> None:
        """Take up the open state that an earlier run left, before any line is fed; shown: it gave a preview()."""
        correlator = self._correlator
        for token, value in state.items():
            if token.startswith(b"host:"):
                decode_host(value, correlator.host(token[5:]))
        for token, value in state.items():
            if token.startswith(b"host:"):
                continue
            if token.startswith(b"link:"):
                name, queue_id, fact = decode_link(value)
                correlator.take_up_link(correlator.host(name), queue_id, fact)
                continue
            message = decode_message(token, value)
            epoch = next((e for e in self._epochs if e.number == message.epoch and e.secret), None)
            if epoch is not None:
                message.handlers = self._parser(epoch).handlers
                correlator.take_up(message)
                if shown:
                    self._shown.update(waiting[2] for waiting in message.waiting)

    def _batch(self) -> Batch:
        correlator = self._correlator
        rows, rejects = correlator.rows, self._rejects
        correlator.rows, self._rejects = [], []
        again: list[Row] = []
        if self._shown:
            fresh: list[Row] = []
            for row in rows:
                known = row[1][:WIDTH] in self._shown
                (again if known else fresh).append(row)
                self._shown.discard(row[1][:WIDTH])
            rows = fresh
        self._count_senders(rows)
        puts: dict[bytes, bytes] = {}
        drops: list[bytes] = []
        if correlator.changed is not None:
            puts = {
                token: encode_message(message) for token, message in correlator.changed.items() if message is not None
            }
            puts.update(self._links(correlator.changed.keys()))
            puts.update((b"host:" + host.name, encode_host(host)) for host in correlator.hosts.values())
            drops, correlator.dropped, correlator.changed = correlator.dropped, [], {}
        return Batch(rows, rejects, puts, drops, again)

    def _count_senders(self, rows: list[Row]) -> None:
        self.counts["without_sender"] += sum(row[SENDER_KIND] == "" for row in rows)
