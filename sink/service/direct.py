"""`postsink omprog --direct`: the whole pipeline in rsyslogd's child, for one small host."""

import time
from pathlib import Path

from sink import hardening, privileges
from sink.config import Config
from sink.fault import OK, TEMPFAIL, Fault
from sink.installation import unlock_keyring
from sink.keys.seal import Secret
from sink.service import omprog
from sink.service.anew import begin_anew, taken_over
from sink.service.live import Live
from sink.service.words import Seldom, say, to_syslog

TICK = 1.0  # seconds between looks at the clock


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
        live = _opened(config, None if again is None else taken_over(again))
        lines = omprog.Lines()
        try:
            if again is None:
                omprog.ok()
            for line in lines:
                if line is not None:
                    live.take((line,))
                now = time.monotonic()
                if now >= ticked + TICK:
                    ticked = now
                    live.tick(now)
                    live.pass_on(seldom)
                    if live.look(now, seldom):
                        _reload(live, config)
                    seldom.tell(now)
                _committed(live)
                if line is not None:
                    omprog.ok()
                if live.is_tainted and lines.is_between:
                    break
        finally:
            live.close()
        if live.is_tainted and lines.is_between:
            begin_anew(live.secret, [*([] if path is None else ["--config", str(path)]), "omprog", "--direct"])
    except omprog.Gone:
        pass
    except Fault as fault:
        say(str(fault))
        raise
    return OK


def _reload(live: Live, config: Config) -> None:
    """Load the keyring anew; where that fails, go on as before."""
    try:
        live.reload(config)
    except Fault as fault:
        say(f"keyring not loaded: {fault}")


def _opened(config: Config, known: Secret | None) -> Live:
    """Open keyring and store; wait while a child before this one still holds the store."""
    keys = unlock_keyring(config, known)
    while True:
        try:
            return Live(config, *keys)
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
