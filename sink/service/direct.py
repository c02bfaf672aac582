"""`postsink omprog --direct`: the whole pipeline in rsyslogd's child, for one small host."""

import time

from sink import hardening, privileges
from sink.config import Config
from sink.fault import OK, TEMPFAIL, Fault
from sink.installation import open_keyring
from sink.service import omprog
from sink.service.live import Live
from sink.service.words import Seldom, say, to_syslog

TICK = 1.0  # seconds between looks at the clock


def run(config: Config) -> int:
    """Take stdin until it ends; each line is confirmed when what it does is committed."""
    omprog.stay()
    to_syslog()  # rsyslogd gives its children no stderr
    seldom, ticked = Seldom(), time.monotonic()
    try:
        # Debian 13's rsyslog.service takes the right from root to become anyone else.
        privileges.become_owner(config, "use the daemon and the relay: postsink enable rsyslog")
        missing = hardening.lock()
        if missing:
            say(missing)
        live = _opened(config)
        try:
            omprog.ok()
            for line in omprog.lines():
                if line is not None:
                    live.take((line,))
                now = time.monotonic()
                if now >= ticked + TICK:
                    ticked = now
                    live.tick(now)
                    live.pass_on(seldom)
                    seldom.tell(now)
                _committed(live)
                if line is not None:
                    omprog.ok()
        finally:
            live.close()
    except omprog.Gone:
        pass
    except Fault as fault:
        say(str(fault))
        raise
    return OK


def _opened(config: Config) -> Live:
    """Open keyring and store; wait while a child before this one still holds the store."""
    keys = open_keyring(config)
    while True:
        try:
            return Live(config, keys)
        except Fault as fault:
            if fault.status != TEMPFAIL:
                raise
        _wait()


def _committed(live: Live) -> None:
    """Return when all is committed."""
    while not live.commit():
        _wait()


def _wait() -> None:
    time.sleep(omprog.PULSE)
    omprog.dot()
