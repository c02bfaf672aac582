"""The one object that everything drives: lines in, batches of rows out.

`run`, `import`, `explain` and the tests call feed() and tick() and commit each Batch in one transaction. Pure: no
file, socket, clock or log. What it counts it counts by daemon and reason, never by text.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence, Set

from sink.core.addressbook import NOBODY
from sink.core.batch import Batch
from sink.core.correlate import Correlator
from sink.core.deliveries import Event
from sink.core.epochs import Epoch, Parsers
from sink.core.facts import ARRIVED
from sink.core.forgetting import Chance
from sink.core.grammar import ignored_words
from sink.core.hosts import Host, Standing
from sink.core.links import links_of
from sink.core.messages import Message
from sink.core.notices import CONNECTIONS, LEVELS, is_sasl_failure, notice
from sink.core.parse import BAD_SYNTAX, SESSION, Reading
from sink.core.pseudonym import WIDTH, Pseudonyms, Tokens
from sink.core.queueid import is_queue_id
from sink.core.refusals import Refusal
from sink.core.rows import SENDER_KIND, Row
from sink.core.rules import Rules
from sink.core.settle import NO_SENDER
from sink.core.state import changed_clocks, decode_host, decode_link, decode_message, encode_host
from sink.core.syslog import MOST_LINE, Reader
from sink.core.tags import Program

NOWHERE = Host(b"")
MOST_RECENT = 1_000  # queue ids whose message is found without a token
FIRST_WORD = re.compile(rb"[^ =]++")
REFUSING = frozenset({b"reject:", b"milter-reject:", b"milter-header-reject:", b"proxy-reject:"})


class Pipeline:
    """Turns syslog lines of one stream into rows.

    counts: lines, postfix_lines, delivery_lines, expired_lines, rejects, rejects_not_kept, ignored, not_understood,
    not_understood:DAEMON, not_syslog, too_long, without_sender, without_daemon, epoch_destroyed, forgotten_*,
    sasl_failures, connections_*, warnings_not_shown and its kin.
    """

    def __init__(
        self, rules: Rules, epochs: Sequence[Epoch], correlation: bytes, reader: Reader, journal: bool = False,
        naming: Callable[[bytes, bool], Pseudonyms] = Pseudonyms,
    ) -> None:  # fmt: skip
        self.counts: Counter[str] = Counter()
        self.notices: Counter[str] = Counter()  # Postfix's own troubles, for the admin: daemon, level, our words
        self.reader = reader
        self._rules = rules
        self._parsers = Parsers(rules, epochs, naming)
        self._tokens = Tokens(correlation)
        self.watched = False  # whether apply() is to see every event, which costs
        self._rejects: list[Row] = []
        self._shown: set[bytes] = set()  # delivery keys that an earlier run's preview() showed
        self._journal = journal
        self._correlator = Correlator(rules, self.counts, self._readers, journal)

    def _readers(self, epoch: int) -> dict[bytes, Reading]:
        """Return the readers of an epoch's lines; none where every event is to be seen by apply()."""
        parser = None if self.watched else self._parsers.numbered(epoch)
        return {} if parser is None else parser.readers

    # -- lines

    def feed(self, lines: Sequence[bytes]) -> Batch:
        """Take lines without their newline; return what they and the log time they bring let leave."""
        self.take(lines)
        return self.batch()

    def take(self, lines: Sequence[bytes]) -> None:
        """Take lines; batch() returns what leaves. For a daemon that commits less often than it reads."""
        reader, correlator = self.reader, self._correlator
        learn, tags = correlator.learn, reader.tags
        strange = ignored = unread = 0
        last = where = None  # stamp and place of the line before, where they still tell second and host
        spots: dict[bytes, tuple[bytes, int, Host]] = {}  # by place: stamp, second, host
        host, second = NOWHERE, 0
        for entry in reader.entries(lines):
            stamp, micros, place, tag, queue_id, word, text = entry
            program, pid = tags[tag]
            if stamp != last or place != where:
                spot = spots.get(place)
                if spot is not None and spot[0] == stamp and not spot[2].strays:
                    last, second, host = spot
                    where = place
                else:
                    last = None
                    if stamp:
                        moment = reader.moment(stamp, place, queue_id)
                    else:
                        moment, (micros, tag, queue_id, word, text) = reader.alone(text)
                        program, pid = tags[tag]
                    if moment is None:
                        unread += 1
                        continue
                    if program.postfix:
                        second, host = moment[0], correlator.hear(moment[1], moment[0])
                        if stamp:
                            spots[place] = stamp, second, host
            if not program.whole and not self._is_nameless(program):
                strange += 1
                continue
            message = host.recent.get(queue_id)
            if message is None:
                if not queue_id and word in program.ignored:
                    ignored += 1
                else:
                    self._take_first(host, second, micros, program, pid, queue_id, word, text)
                continue
            reading = message.readers.get(word)
            facts = None if reading is None else reading(program, text)
            if facts is not None:
                learn(host, message, second, micros, facts)
            else:
                self._take(host, message, second, micros, program, pid, queue_id, word, text)
        self._count(lines, strange, unread)
        self.counts["ignored"] += ignored

    def _is_nameless(self, program: Program) -> bool:
        """Tell whether a line is of Postfix, and of which daemon was lost; count it."""
        if program.postfix:
            self.counts["without_daemon"] += 1
        return program.postfix

    def _count(self, lines: Sequence[bytes], strange: int, unread: int) -> None:
        """Count lines that were fed; of these some are not Postfix's, some no syslog lines."""
        counts = self.counts
        long = sum(len(line) > MOST_LINE for line in lines) if unread else 0
        counts["lines"] += len(lines)
        counts["postfix_lines"] += len(lines) - strange - unread
        counts["too_long"] += long
        counts["not_syslog"] += unread - long

    def _not_understood(self, program: Program, second: int) -> None:
        """Count a line that nothing comes of: no key can name what it says, or the grammar does not know it."""
        if self._parsers.at(second) is None:
            self.counts["epoch_destroyed"] += 1
            return
        self.counts["not_understood"] += 1
        self.counts["not_understood:" + (program.daemon or "unknown")] += 1

    def _take(
        self, host: Host, message: Message, second: int, micros: bytes, program: Program, pid: bytes, queue_id: bytes,
        word: bytes, text: bytes,
    ) -> None:  # fmt: skip
        """Take a text of a message met lately that gives more than facts."""
        if message.gone:
            self._take_first(host, second, micros, program, pid, queue_id, word, text)
            return
        parser = self._parsers.numbered(message.epoch)
        parse = None if parser is None else parser.parse if self.watched or not message.readers else parser.parse_rest
        event = None if parse is None else parse(program, word, text)
        if event is None:
            self._not_understood(program, second)
        else:
            self.apply(host, message, second, micros, program, pid, queue_id, text, event)

    def _take_first(
        self, host: Host, second: int, micros: bytes, program: Program, pid: bytes, queue_id: bytes, word: bytes,
        text: bytes,
    ) -> None:  # fmt: skip
        """Take a text whose queue id was not met lately, or that has none; one that is not understood opens nothing."""
        if not is_queue_id(queue_id):
            whole = queue_id + b": " + text if queue_id else text
            if not self._take_noqueue(host, second, micros, program, pid, whole):
                self._ignore(program, second, queue_id, whole)
            return
        found = self._understood(host, queue_id, second, program, word, text)
        if found is None:
            self._not_understood(program, second)
        else:
            self.apply(host, found[0], second, micros, program, pid, queue_id, text, found[1])

    def _ignore(self, program: Program, second: int, level: bytes, whole: bytes) -> None:
        """Take a text of which nothing is wanted but, at most, that the admin sees it."""
        first = whole.partition(b" ")[0]
        if first not in ignored_words(program.daemon):
            self._not_understood(program, second)
            return
        self.counts["ignored"] += 1
        if level in LEVELS:
            words = notice(whole[len(level) + 2 :])
            if words is not None:
                self.notices[f"{program.daemon or 'postfix'}: {level.decode('ascii')}: {words}"] += 1
            elif is_sasl_failure(whole):
                self.counts["sasl_failures"] += 1
            else:
                self.counts[f"{level.decode('ascii')}s_not_shown"] += 1
        elif first in CONNECTIONS:
            self.counts[CONNECTIONS[first]] += 1

    def _understood(
        self, host: Host, queue_id: bytes, second: int, program: Program, word: bytes, text: bytes
    ) -> tuple[Message, Event] | None:
        """Return the message of a queue id that was not met lately, opened where it is new, and a text's event."""
        correlator = self._correlator
        token = self._tokens.token(host.name, queue_id)
        message = correlator.messages.find(token)
        parser = self._parsers.at(second) if message is None else self._parsers.numbered(message.epoch)
        event = None if parser is None else parser.parse(program, word, text)
        if parser is None or event is None:
            return None
        if message is None:
            hidden = parser.pseudonyms.queue_id(queue_id)
            message = correlator.open(host, token, hidden, parser.epoch, second, self._readers(parser.epoch))
        recent = host.recent
        if len(recent) >= MOST_RECENT:
            kept = {known: one for known, one in recent.items() if not one.gone}
            recent.clear()
            if len(kept) < MOST_RECENT // 2:
                recent.update(kept)
        recent[queue_id] = message
        return message, event

    def apply(
        self, host: Host, message: Message, second: int, micros: bytes, program: Program, pid: bytes, queue_id: bytes,
        text: bytes, event: Event,
    ) -> None:  # fmt: skip
        """Give an event to its message; its attempt waits, its refusal leaves."""
        correlator = self._correlator
        facts, attempt, refusal, link = correlator.messages.forgetting.cleared(message.token, event)
        correlator.learn(host, message, second, micros, facts)
        if attempt is not None:
            halves, local, kind, next_id, said = attempt
            if not message.arrived and said[1] != "":
                correlator.arrive(message, (second, ARRIVED, max(second - round(float(said[1])), 0), b""))
            parser = self._parsers.at(second)
            if parser is None:
                self.counts["epoch_destroyed"] += 1
            else:
                self.counts["expired_lines" if local is None else "delivery_lines"] += 1
                key = parser.pseudonyms.delivery_key(host.name, second, pid, queue_id + b": " + text.rstrip())
                agent = program.daemon or ""
                waiting = second, micros, key + halves, program.instance, agent, local, kind, next_id, said
                correlator.wait(host, message, waiting)
        elif refusal is not None:
            self.refuse(host, second, micros, program, pid, queue_id + b": " + text, message.epoch, refusal)
        if link is not None:
            correlator.hand_on(host, message, second, micros, link)

    def refuse(
        self, host: Host, second: int, micros: bytes, program: Program, pid: bytes, text: bytes, epoch: int,
        refusal: Refusal,
    ) -> None:  # fmt: skip
        """Let a refusal leave, unless its category is not kept; epoch: under whose key its addresses are."""
        stage, code, dsn, sender, recipient, category = refusal
        if category in self._rules.dropped_rejects:
            self.counts["rejects_not_kept"] += 1
            return
        parser = self._parsers.at(second)
        if parser is None:
            self.counts["epoch_destroyed"] += 1
            return
        self.counts["rejects"] += 1
        fraction = int(micros or 0)
        key = parser.pseudonyms.reject_id(host.name, second, fraction, pid, text.rstrip())
        kind, address, *_ = sender or NO_SENDER
        self._rejects.append(
            (
                second, key + address + (recipient or NOBODY)[0], fraction, epoch, host.text, program.instance,
                program.daemon or "", stage, code or "", dsn or "", kind, category,
            )
        )  # fmt: skip

    def _take_noqueue(
        self, host: Host, second: int, micros: bytes, program: Program, pid: bytes, text: bytes
    ) -> bool:
        """Take what smtpd and postscreen say without a queue id; a proxied session stands for one."""
        rest = text[9:] if text.startswith(b"NOQUEUE: ") else text
        match = FIRST_WORD.match(rest)
        word = match[0] if match else b""
        if word in (b"client", b"proxy-accept:"):
            if text is rest and word == b"client":
                return False  # a client= without a queue id and without NOQUEUE is masked
            found = self._understood(host, SESSION + pid, second, program, word, rest)
            if found is not None:
                self.apply(host, found[0], second, micros, program, pid, SESSION + pid, rest, found[1])
            return found is not None
        parser = self._parsers.at(second)
        if parser is None:
            return False
        if word in REFUSING or rest.startswith(BAD_SYNTAX):
            event = parser.parse(program, word, rest)
            if event is not None and event[2] is not None:
                self.refuse(host, second, micros, program, pid, text, parser.epoch, event[2])
                return True
        if text is not rest and parser.parse(program, word, rest) is not None:
            self.counts["ignored"] += 1
            return True
        return False

    # -- time and state

    def tick(self, now: float) -> Batch:
        """Let wall clock pass: now in seconds of any clock that only grows."""
        self._correlator.tick(now)
        return self.batch()

    def flush(self) -> Batch:
        """Let all rows leave, since no line will follow."""
        self._correlator.flush()
        return self.batch()

    def preview(self) -> Batch:
        """Return the rows that wait as they would be now; they go on waiting.

        For an import that another one follows: its last rows may be kept at once, and are replaced where
        the next file's first lines say more.
        """
        shown = self._correlator.preview()
        self._count_senders(shown)
        again = [row for row in shown if row[1][:WIDTH] in self._shown]
        return Batch([row for row in shown if row[1][:WIDTH] not in self._shown], [], {}, [], again)

    def left(self) -> int:
        """Return the number of rows that left since the last batch."""
        return len(self._correlator.rows) + len(self._rejects)

    def has_news(self) -> bool:
        """Tell whether batch() would give anything but a log clock: of most lines a daemon takes one by one nothing."""
        correlator = self._correlator
        return bool(correlator.rows or self._rejects or correlator.messages.has_news() or correlator.links.has_news())

    def standing(self) -> Standing:
        """Return how many messages are open, and where clocks stand."""
        return self._correlator.standing()

    def state(self) -> dict[bytes, bytes]:
        """Return the whole open state by token, for a store."""
        correlator = self._correlator
        found = correlator.messages.states()
        for host in correlator.hosts.values():
            found.update(links_of(host))
            found[b"host:" + host.name] = encode_host(host)
        return found

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
                correlator.links.take_up(correlator.host(name), queue_id, fact)
                continue
            message = decode_message(token, value, correlator.host)
            if self._parsers.numbered(message.epoch) is None:
                correlator.messages.drop(token)  # nothing of it can be named any more
                continue
            message.readers = self._readers(message.epoch)
            correlator.take_up(message)
            if shown:
                self._shown.update(waiting[2][:WIDTH] for waiting in message.waiting)

    def part(self, epochs: Set[int]) -> None:
        """Let the rows of some epochs' open messages leave, since their keys are destroyed, and forget these."""
        self._correlator.part(epochs)

    def forget(self, listed: Sequence[tuple[int, bytes]], chance: Chance) -> None:
        """Forget persons in open messages, after a batch(); see OpenMessages.forget()."""
        self._correlator.messages.forget(listed, chance)

    def batch(self) -> Batch:
        """Return what left, and what changed, since the last batch."""
        correlator = self._correlator
        rows, rejects = correlator.rows, self._rejects
        correlator.rows, self._rejects = [], []
        again = [row for row in rows if row[1][:WIDTH] in self._shown] if self._shown else []
        if again:
            rows = [row for row in rows if row[1][:WIDTH] not in self._shown]
            self._shown.difference_update([row[1][:WIDTH] for row in again])
        if rows:
            self._count_senders(rows)
        puts: dict[bytes, bytes] = {}
        drops: list[bytes] = []
        if self._journal:
            puts, drops = correlator.messages.changes()
            links, gone = correlator.links.changes()
            puts |= links
            drops += gone
            puts |= changed_clocks(correlator.heard)
            correlator.heard.clear()
        correlator.seal()
        return Batch(rows, rejects, puts, drops, again)

    def _count_senders(self, rows: list[Row]) -> None:
        self.counts["without_sender"] += sum(row[SENDER_KIND] == "" for row in rows)

