"""`postsink omprog --direct`: the whole pipeline in rsyslogd's child, for one small host."""

import time
from pathlib import Path

from sink import config as configuration
from sink import hardening, privileges
from sink.config import Config
from sink.fault import OK, TEMPFAIL, Fault
from sink.installation import unlock_keyring
from sink.service import omprog
from sink.service.anew import NOTHING, Heritage, begin_anew, can_begin, taken_over
from sink.service.live import Live
from sink.service.words import Seldom, say, to_syslog

TICK = 1.0  # seconds between looks at the clock
ANEW = 60.0  # seconds between tries to begin anew


def run(config: Config, path: Path | None, again: int | None) -> int:
    """Take stdin until it ends; each line is confirmed when what it does is committed.

    path: of the config; again: the descriptor on which this process's program before left what opens the keyring.
    """
    omprog.stay()
    to_syslog()  # rsyslogd gives its children no stderr
    seldom, ticked = Seldom(), time.monotonic()
    try:
        # Debian 13's rsyslog.service takes the right from root to become anyone else.
        privileges.become_owner(config, "use the daemon and the relay: postsink enable rsyslog")
        missing = hardening.lock()
        if missing:
            say(missing)
        live = _opened(config, NOTHING if again is None else taken_over(again))
        heritage, tried = None, ticked
        try:
            if again is None:
                omprog.ok()
            lines = omprog.Lines()
            for line in lines:
                if line is not None:
                    live.take((line,))
                now = time.monotonic()
                if now >= ticked + TICK:
                    ticked = now
                    live.tick(now)
                    live.pass_on(seldom)
                    live.look(now, seldom)
                    seldom.tell(now)
                _committed(live)
                if line is not None:
                    omprog.ok()
                if live.is_tainted and lines.is_between and now >= tried:
                    tried = now + ANEW
                    if _may_begin(path):
                        heritage = live.heritage()
                        break
        finally:
            live.close()
        if heritage is not None:
            begin_anew(heritage, [*([] if path is None else ["--config", str(path)]), "omprog", "--direct"])
    except omprog.Gone:
        pass
    except Fault as fault:
        say(str(fault))
        raise
    return OK


def _may_begin(path: Path | None) -> bool:
    """Tell whether a new program would not end at once, as it does where the config is wrong."""
    try:
        configuration.load(path)
        wrong = "" if can_begin() else "its user may not run postsink"
    except Fault as fault:
        wrong = str(fault)
    if wrong:
        say(f"can't begin anew, and so still has a key that is destroyed: {wrong}")
    return not wrong


def _opened(config: Config, heritage: Heritage) -> Live:
    """Open keyring and store; wait while a child before this one still holds the store."""
    secret, lock = heritage
    opened = unlock_keyring(config, secret)
    while True:
        try:
            return Live(config, opened, lock)
        except Fault as fault:
            if fault.status != TEMPFAIL:
                raise
        lock = None  # it is let go
        _wait()


def _committed(live: Live) -> None:
    """Return when all is committed."""
    while not live.commit():
        _wait()


def _wait() -> None:
    time.sleep(omprog.PULSE)
    omprog.dot()
