"""Redacts log lines: the same line out, with names of example.com and its kin in the place of what is somebody's.

One engine with `scrub` (sink.core.scrub), whose masks are stand-ins here; what no grammar knows is told word by word.
Of a header come out priority, time, and tag; the host's name, an instance's and a service's of the operator's own are
stand-ins, too. Rows of what comes out are those of what came in, up to the names (standins.played_by()).
"""

from collections.abc import Sequence

from sink.core import vocabulary
from sink.core.epochs import Epoch
from sink.core.heads import head_of
from sink.core.retell import Teller
from sink.core.rules import Rules
from sink.core.scrub import Scrubber
from sink.core.standins import StandIns, one_named, told_by
from sink.core.syslog import Reader

_POSTFIX = b"postfix"


class Redactor(Scrubber):
    """Redacts the lines of one source; names: its stand-ins."""

    def __init__(self, rules: Rules, reader: Reader, key: bytes) -> None:
        super().__init__(told_by(rules), [Epoch(1, None, None, key)], reader, key, naming=one_named)
        parser = self._parsers.numbered(1)
        assert parser is not None  # the only epoch, and its key is there
        self.names = StandIns(parser.pseudonyms, parser.book, told_by(rules))
        self._made[1] = Teller(parser, self.names), self.names
        self._own: dict[bytes, bytes] = {}

    def scrub(self, lines: Sequence[bytes]) -> list[bytes]:
        """Return the lines, redacted."""
        return [self._alone(line) for line in lines]

    def _alone(self, line: bytes) -> bytes:
        moment, (_, tag, queue_id, word, text) = self.reader.alone(line)
        if moment is None:
            return self.names.dropped(line)
        shown, neighbour = self._tags.get(tag) or self._tag(tag)
        program, pid = self.reader.tags[tag]
        if program.postfix:
            shown = self._postfix(tag)
        elif not shown:
            shown = b"other[%b]:" % pid if pid else b"other:"
        body = self._told(moment, program, neighbour, queue_id, word, text)
        return head_of(line, self.reader.has_host).written(self.names.host(moment[1]), shown, body)

    def _postfix(self, tag: bytes) -> bytes:
        """Show a tag of Postfix: the words of its shipped master.cf as they are, an operator's own by number."""
        name, bracket, rest = tag.partition(b"[")
        colon = b"" if bracket else name[len(name.rstrip(b":")) :]
        parts = [self._named(part) for part in name.rstrip(b":").split(b"/")]
        if not parts[0].startswith(_POSTFIX) and len(parts) == 1:
            parts[0] = _POSTFIX
        pid = rest.partition(b"]")[0]
        behind = b"[%b]%b" % (pid if pid.isdigit() else b"", b":" if tag.endswith(b":") else b"") if bracket else colon
        return b"/".join(parts) + behind

    def _named(self, part: bytes) -> bytes:
        if all(vocabulary.is_known(word) for word in part.split(b"-")):
            return part
        begin = b"postfix-own%d" if part.startswith(_POSTFIX) else b"own%d"
        return self._own.setdefault(part, begin % (len(self._own) + 1))
