"""Which epoch a message's lines belong to, where a keyring has several; for `scrub`.

A message keeps the epoch of its first line. This knows of a message no more than that, by a token of host and queue
id, and follows the rules by which messages open and end (sink.core.openmessages) as far as a line alone tells them.
"""

from sink.core.links import LINGER
from sink.core.parse import ENDS
from sink.core.pseudonym import Tokens

_OPENINGS = frozenset({b"client", b"uid"})


class Lives:
    """Epochs of messages, each kept for `patience` seconds after its last line; at most `most`, oldest first."""

    def __init__(self, correlation: bytes, patience: int, most: int) -> None:
        self._tokens = Tokens(correlation)
        self._patience = patience
        self._most = most
        self._known: dict[bytes, tuple[int, int, int, bool]] = {}  # epoch, opened, good until, ended

    def take_up(self, token: bytes, number: int, opened: int, last: int, ended: int) -> None:
        """Take up an open message that a pipeline knows: ended is the second of its end, or less than 0."""
        until = ended + LINGER if ended >= 0 else last + self._patience
        self._known[token] = number, opened, until, ended >= 0

    def epoch(self, host: bytes, queue_id: bytes, second: int, word: bytes, text: bytes, now: int) -> int:
        """Return the epoch of a line's message; now: that of the line's own second."""
        token = self._tokens.token(host, queue_id)
        number, opened, until, ended = self._known.pop(token, (now, second, second, False))
        if second > until or (word in _OPENINGS and second != opened):
            number, opened, ended = now, second, False
        if not ended:
            ended = text in ENDS
            until = second + (LINGER if ended else self._patience)
        if len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[token] = number, opened, until, ended
        return number
