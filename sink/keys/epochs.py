"""What a keyring is: the epochs with their keys, and the key of open state.

Rules: the epochs lie side by side and cover all of log time; exactly one is active, past ones stand before
it and coming ones after; a destroyed one has no key; no two keys are alike and none is weak. A Keyring that
breaks a rule can't be made.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, Literal, get_args

from sink.core.pseudonym import keyed, subkey
from sink.fault import CONFIG, TEMPFAIL, USAGE, Fault
from sink.keys.seal import weakness

State = Literal["coming", "active", "retired", "destroyed"]

COLUMNS: Final = ("epoch", "state", "since", "until", "check")
RESTORE: Final = "restore it from its backup"
WIDTH: Final = 32  # bytes of an epoch key and of the correlation key

_MOST_EPOCHS: Final = 1000
_LAST_NUMBER: Final = 32_767  # the rows' column is a smallint
_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the last that datetime can show


@dataclass(frozen=True, slots=True)
class Epoch:
    """A range of log time [since, until), in UTC seconds, and the key of its pseudonyms."""

    number: int
    since: int | None  # None: open backwards
    until: int | None  # None: open forwards
    state: State
    secret: bytes | None = field(repr=False)  # None: destroyed

    @property
    def check(self) -> str | None:
        """The key's check value, 16 hex digits, which a store keeps; it tells nothing of the key."""
        return None if self.secret is None else keyed(subkey(self.secret, "check"), 8)(b"postsink").hex()


@dataclass(frozen=True, slots=True)
class Keyring:
    """All epochs in the order of time, and the key of open state. Making an invalid one is a Fault 78."""

    epochs: tuple[Epoch, ...]
    correlation: bytes = field(repr=False)

    def __post_init__(self) -> None:
        wrong = _wrong(self)
        if wrong:
            raise Fault(CONFIG, f"the keyring is not valid: {wrong}; {RESTORE}")

    @classmethod
    def create(cls) -> "Keyring":
        """Makes a keyring of one active epoch, open on both sides, of new random keys."""
        epoch = Epoch(1, None, None, "active", secrets.token_bytes(WIDTH))
        return cls((epoch,), secrets.token_bytes(WIDTH))

    @property
    def active(self) -> Epoch:
        return next(epoch for epoch in self.epochs if epoch.state == "active")

    def at(self, second: int) -> Epoch:
        """Gives the epoch that holds a second of log time; it may be a destroyed one."""
        return next(epoch for epoch in self.epochs if epoch.until is None or second < epoch.until)

    def as_of(self, now: int) -> "Keyring":
        """Gives the keyring with the states that a time makes of it: an epoch that was coming is active now."""
        current = self.at(now)
        for epoch in self.epochs:
            if epoch.secret is None and epoch.number >= current.number:
                words = f"epoch {epoch.number} is destroyed, and by the clock it has not ended; set the clock"
                raise Fault(CONFIG, words)

        def state(epoch: Epoch) -> State:
            if epoch.secret is None:
                return "destroyed"
            if epoch is current:
                return "active"
            return "retired" if epoch.number < current.number else "coming"

        return replace(self, epochs=tuple(replace(epoch, state=state(epoch)) for epoch in self.epochs))

    def numbered(self, number: int) -> Epoch | None:
        """Gives an epoch by its number."""
        return next((epoch for epoch in self.epochs if epoch.number == number), None)

    def rotated(self, boundary: int) -> "Keyring":
        """Gives the keyring with a new epoch of a new random key, from a UTC second on. Faults: 75 one is coming."""
        *before, last = self.epochs
        if last.state == "coming":
            raise Fault(TEMPFAIL, f"epoch {last.number} begins at {shown(last.since)}; rotate again after that")
        fresh = Epoch(last.number + 1, boundary, None, "coming", secrets.token_bytes(WIDTH))
        return replace(self, epochs=(*before, replace(last, until=boundary), fresh))

    def without(self, number: int) -> "Keyring":
        """Gives the keyring without the key of a retired epoch. Faults: 64 it is not retired."""
        epoch = self.numbered(number)
        if epoch is None:
            raise Fault(USAGE, f"there is no epoch {number}; see: postsink keys list")
        if epoch.state == "destroyed":
            raise Fault(USAGE, f"epoch {number} is destroyed already")
        if epoch.state == "coming":
            raise Fault(USAGE, f"epoch {number} has not begun; it can be destroyed when it has ended")
        if epoch.state == "active":
            raise Fault(USAGE, f"epoch {number} is active; type postsink keys rotate, wait, and destroy it then")
        gone = replace(epoch, state="destroyed", secret=None)
        return replace(self, epochs=tuple(gone if one is epoch else one for one in self.epochs))

    def joined(self, other: "Keyring") -> "Keyring":
        """Gives what another host of the fleet has made of this keyring, less what is destroyed here.

        Faults: 78 it is of another fleet, or this one went on by itself.
        """
        if other.correlation != self.correlation:
            raise Fault(CONFIG, "it is of another fleet; export it on a host that has the same keys")
        if len(other.epochs) < len(self.epochs):
            missing = self.epochs[len(other.epochs)].number
            raise Fault(CONFIG, f"it has no epoch {missing}, this host has; export here and import there")
        for epoch, later in zip(self.epochs, other.epochs, strict=False):
            if not _goes_on(epoch, later):
                raise Fault(CONFIG, f"its epoch {epoch.number} is another one; only one host of a fleet may rotate")
        gone = {epoch.number for epoch in self.epochs if epoch.secret is None}
        return replace(
            other,
            epochs=tuple(
                replace(epoch, state="destroyed", secret=None) if epoch.number in gone else epoch
                for epoch in other.epochs
            ),
        )


def _goes_on(epoch: Epoch, later: Epoch) -> bool:
    """Tells whether an epoch is what another one may be on another host, or later: ended, or destroyed."""
    same = (epoch.number, epoch.since) == (later.number, later.since) and epoch.until in (None, later.until)
    return same and (epoch.secret == later.secret or None in (epoch.secret, later.secret))


def _wrong(keyring: Keyring) -> str | None:
    """Says what breaks the laws of a keyring, or gives None."""
    epochs = keyring.epochs
    if not 1 <= len(epochs) <= _MOST_EPOCHS:
        return "it holds no epoch or too many"
    if [epoch.state for epoch in epochs].count("active") != 1:
        return "not exactly one epoch is active"
    if epochs[0].since is not None or epochs[-1].until is not None:
        return "its epochs are not open at both ends"
    for before, after in pairwise(epochs):
        if before.until is None or before.until != after.since or before.number >= after.number:
            return "its epochs overlap or leave a gap"
    return next(filter(None, map(_wrong_epoch, epochs)), None) or _wrong_order(epochs) or _wrong_keys(keyring)


def _wrong_epoch(epoch: Epoch) -> str | None:
    if not 1 <= epoch.number <= _LAST_NUMBER or epoch.state not in get_args(State):
        return "an epoch has no valid number or state"
    bounds = [bound for bound in (epoch.since, epoch.until) if bound is not None]
    if not all(0 <= bound <= _LAST_SECOND for bound in bounds) or bounds != sorted(set(bounds)):
        return "an epoch ends before it begins"
    if (epoch.secret is None) != (epoch.state == "destroyed"):
        return "an epoch's key is missing, or stands where the epoch is destroyed"
    return None


def _wrong_order(epochs: Sequence[Epoch]) -> str | None:
    """Checks that past epochs stand before the active one, and coming ones after it."""
    ranks = {"retired": 0, "destroyed": 0, "active": 1, "coming": 2}
    order = [ranks[epoch.state] for epoch in epochs]
    return None if order == sorted(order) else "the states of its epochs are out of order"


def _wrong_keys(keyring: Keyring) -> str | None:
    keys = [keyring.correlation, *(epoch.secret for epoch in keyring.epochs if epoch.secret is not None)]
    if any(len(key) != WIDTH or weakness(key) for key in keys):
        return "a key is weak"
    return None if len(set(keys)) == len(keys) else "a key stands twice"


def describe(keyring: Keyring) -> tuple[tuple[str, str, str, str, str], ...]:
    """Gives a row of texts an epoch, under COLUMNS, without any secret."""
    return tuple(
        (str(epoch.number), epoch.state, shown(epoch.since), shown(epoch.until), epoch.check or "-")
        for epoch in keyring.epochs
    )


def shown(second: int | None) -> str:
    """Gives a UTC second as people read it."""
    return "-" if second is None else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
