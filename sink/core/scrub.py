"""Scrubs log lines: the same line out, in the same form, with pseudonyms in the place of what is somebody's.

    scrubber = Scrubber(rules, epochs, reader, correlation)
    scrubber.scrub(lines) -> [line, ...]      bytes without newline, as many as came in, in their order
    scrubber.counts                           lines, not_understood, other_programs, not_syslog, too_long,
                                              epoch_destroyed

Law: a line is header and text. Of the header come out the time as logged, the host's own name where it has the form of
one, and the tag where it is of a program named here. Of the text comes out what a grammar tells again: Postfix's
(sink.core.retell), or a neighbour's (NEIGHBOURS). What no grammar knows is `[not understood: 87 bytes]`.

Pseudonyms are those of the rows: the epoch is that of the message's first line, which is remembered by token where
the keyring has several epochs. A Reader belongs to one source; a Scrubber serves many when `reader` is set before
each call.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from sink.core import dovecot, rspamd
from sink.core.epochs import Epoch, Parsers
from sink.core.heads import head_of
from sink.core.hosts import Host
from sink.core.lives import Lives
from sink.core.masks import WHOLE, Masks, not_understood
from sink.core.pseudonym import Pseudonyms
from sink.core.queueid import is_queue_id
from sink.core.retell import Teller
from sink.core.rules import Rules
from sink.core.state import decode_message
from sink.core.syslog import MOST_LINE, Reader
from sink.core.tags import Program

Neighbour = Callable[[Masks, bytes], bytes | None]
NEIGHBOURS: dict[bytes, Neighbour] = {b"dovecot": dovecot.told, b"rspamd": rspamd.told, b"rspamd_proxy": rspamd.told}

MOST_CACHED = 1_024  # tags and hosts
_HOST = re.compile(rb"[0-9A-Za-z_.:-]{1,255}").fullmatch
_TAG = re.compile(rb"([0-9A-Za-z_./-]{1,64})(\[\d{0,10}\])?(:?)").fullmatch
# Programs of mail hosts whose names say nothing of a person; their texts are not known.
_PROGRAMS = frozenset(
    b"""amavis amavisd clamd clamav-milter CRON cron dkimproxy fail2ban-server kernel milter-greylist opendkim opendmarc
    policyd-spf postgrey postsrsd postfwd rsyslogd saslauthd spamass-milter spamd spampd sshd sudo syslog-ng systemd
    systemd-logind""".split()
)


class Scrubber:
    """Scrubs the lines of one source after the other.

    digits: of each half of a pseudonym, for reading.
    """

    def __init__(
        self, rules: Rules, epochs: Sequence[Epoch], reader: Reader, correlation: bytes, *, digits: int = WHOLE,
        naming: Callable[[bytes, bool], Pseudonyms] = Pseudonyms,
    ) -> None:  # fmt: skip
        self.reader = reader
        self.counts: Counter[str] = Counter()
        self._rules = rules
        self._parsers = Parsers(rules, epochs, naming)
        self._digits = digits
        self._made: dict[int, tuple[Teller, Masks]] = {}
        self._tags: dict[bytes, tuple[bytes, Neighbour | None]] = {}
        self._hosts: dict[bytes, bool] = {}
        several = len(epochs) > 1
        self._lives = Lives(correlation, rules.patience, rules.most_messages) if several else None

    def resume(self, state: dict[bytes, bytes]) -> None:
        """Take up the epochs of a pipeline's open messages: its state()."""
        lives = self._lives
        if lives is None:
            return
        for token, text in state.items():
            if not token.startswith((b"host:", b"link:")):
                one = decode_message(token, text, Host)
                lives.take_up(token, one.epoch, one.opened, one.last, one.ended)

    def scrub(self, lines: Sequence[bytes]) -> list[bytes]:
        """Return the lines, scrubbed; without their newlines, like what comes in."""
        reader, tags = self.reader, self.reader.tags
        found: list[bytes] = []
        for line, (stamp, _, place, tag, queue_id, word, text) in zip(lines, reader.entries(lines), strict=True):
            shown = self._tags.get(tag) or self._tag(tag)
            if not stamp or not shown[0] or not self._is_host(place):
                found.append(self._alone(line))
                continue
            moment = reader.moment(stamp, place, queue_id)
            if moment is None:
                found.append(self._strange(line))
                continue
            body = self._told(moment, tags[tag][0], shown[1], queue_id, word, text)
            behind = len(text) + (len(queue_id) + 2 if queue_id else 0)
            found.append(line[: len(line) - behind] + body)
        self.counts["lines"] += len(found)
        return found

    def line(self, line: bytes) -> bytes:
        """Return one line, scrubbed."""
        return self.scrub((line,))[0]

    def _is_host(self, place: bytes) -> bool:
        """Tell whether an entry's place, "host" or "zone host", ends in what can be a host's name."""
        known = self._hosts.get(place)
        if known is None:
            if len(self._hosts) >= MOST_CACHED:
                self._hosts.clear()
            known = self._hosts[place] = _HOST(place.rpartition(b" ")[2]) is not None
        return known

    def _tag(self, tag: bytes) -> tuple[bytes, Neighbour | None]:
        """Return (a tag as it is shown, b"" where it is not shown as it is; what tells its texts)."""
        if len(self._tags) >= MOST_CACHED:
            self._tags.clear()
        match = _TAG(tag)
        name = match[1] if match else b""
        known = self.reader.tags[tag][0].postfix or name in NEIGHBOURS or name in _PROGRAMS
        self._tags[tag] = tag if match and known else b"", NEIGHBOURS.get(name)
        return self._tags[tag]

    def _alone(self, line: bytes) -> bytes:
        """Scrub a line of a rarer form, or with a header of which not all may come out."""
        moment, (_, tag, queue_id, word, text) = self.reader.alone(line)
        if moment is None:
            return self._strange(line)
        shown, neighbour = self._tags.get(tag) or self._tag(tag)
        host = moment[1] if _HOST(moment[1]) else b"-"
        program, pid = self.reader.tags[tag]
        if not shown:
            shown = b"other[%b]:" % pid if pid else b"other:"
        body = self._told(moment, program, neighbour, queue_id, word, text)
        return head_of(line, self.reader.has_host).written(host, shown, body)

    def _strange(self, line: bytes) -> bytes:
        self.counts["too_long" if len(line) > MOST_LINE else "not_syslog"] += 1
        return not_understood(line)

    def _told(
        self, moment: tuple[int, bytes], program: Program, neighbour: Neighbour | None, queue_id: bytes, word: bytes,
        text: bytes,
    ) -> bytes:  # fmt: skip
        second, host = moment
        teller, masks = self._teller(second, host, program, queue_id, word, text)
        body: bytes | None = None
        understood = False
        if teller is None or masks is None:
            self.counts["epoch_destroyed"] += 1
        elif program.postfix:
            body, understood = teller.told(program, queue_id, word, text)
        else:
            whole = queue_id + b": " + text if queue_id else text
            body = neighbour(masks, whole) if neighbour else None
            understood = body is not None
            self.counts["other_programs"] += neighbour is None
        self.counts["not_understood"] += not understood
        if body is not None:
            return body
        dropped = not_understood if masks is None else masks.dropped
        return dropped(queue_id + b": " + text if queue_id else text)

    def _teller(
        self, second: int, host: bytes, program: Program, queue_id: bytes, word: bytes, text: bytes
    ) -> tuple[Teller, Masks] | tuple[None, None]:
        parser = self._parsers.at(second)
        if self._lives is not None and program.postfix and is_queue_id(queue_id):
            number = self._lives.epoch(host, queue_id, second, word, text, 0 if parser is None else parser.epoch)
            parser = self._parsers.numbered(number)
        if parser is None:
            return None, None
        made = self._made.get(parser.epoch)
        if made is None:
            masks = Masks(parser.pseudonyms, parser.book, self._rules, self._digits)
            made = self._made[parser.epoch] = Teller(parser, masks), masks
        return made
