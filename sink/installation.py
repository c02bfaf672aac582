"""Opens what a command works with: keyring, rules, store; and holds them against each other."""

import os
import time
from collections.abc import Callable
from datetime import UTC, tzinfo
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sink.config import CATEGORIES, Config
from sink.core.addresses import NormalForm
from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.rules import Network, Rules
from sink.core.syslog import Reader
from sink.fault import CONFIG, Fault
from sink.keys import keyring
from sink.keys.epochs import Keyring
from sink.keys.seal import Secret
from sink.stores import locks
from sink.stores.route import Route
from sink.stores.sqlite import SqliteStore

A_DAY = 86_400
Stamp = tuple[int, int, int]


def open_keyring(config: Config) -> Keyring:
    """Open the keyring that the config names."""
    return keyring.load(config.keyring, config.seal)


class Opened(NamedTuple):
    """A keyring, what opened it, and what tells its file, as it was then, from another one."""

    keys: Keyring
    secret: Secret
    stamp: Stamp | None


def unlock_keyring(config: Config, known: Secret | None = None) -> Opened:
    """Open the keyring, with a secret that opened it before or by the config's seals."""
    stamp = stamp_of(config.keyring)  # before: what changes meanwhile is another one
    return Opened(*keyring.unlock(config.keyring, config.seal, known), stamp)


def stamp_of(path: Path) -> Stamp | None:
    """Return what tells a file from what it was before; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns




def destroy_worn_out(
    store: SqliteStore, config: Config, before: int, opened: Opened, *, is_empty: Callable[[int], bool], wait: bool
) -> list[int]:
    """Destroy the epochs of which no row can be left, where rows logged before a second are deleted.

    is_empty: tells of one whether it has no row; wait: for who changes the keyring, or imports; else that is Fault 75.
    Returns their numbers.
    """
    found = {number for number in _worn_out(store, config, before, opened.keys) if is_empty(number)}
    if not found:
        return []
    with keyring.changing(config.keyring, wait=wait), locks.without_imports(config.store):
        ring, secret, _ = unlock_keyring(config, opened.secret)
        gone = [number for number in _worn_out(store, config, before, ring) if number in found]
        for number in gone:
            ring = ring.without(number)
        if gone:
            keyring.save(ring, config.keyring, secret)
    return gone


def _worn_out(store: SqliteStore, config: Config, before: int, keys: Keyring) -> list[int]:
    """Return the retired epochs to which no row can come any more, by their bounds and the open messages."""
    found = [
        epoch.number for epoch in keys.as_of(int(time.time())).epochs
        if epoch.state == "retired" and epoch.until is not None
        # A message keeps the epoch of its first line as long as it is open.
        and epoch.until + config.patience + A_DAY <= before
    ]  # fmt: skip
    open_messages = store.open_by_epoch() if found else {}
    return [number for number in found if number not in open_messages]


def open_store(config: Config, keys: Keyring) -> tuple[SqliteStore, Rules]:
    """Open the store for writing, made where it is missing; stop (78) where keys or settings do not match."""
    store = SqliteStore.create(config.store)
    try:
        return store, bind_store(store, config, keys)
    except BaseException:
        store.close()
        raise


def bind_store(store: SqliteStore, config: Config, keys: Keyring) -> Rules:
    """Hold config and keys against what a store was made with (78 where they do not match); return the rules."""
    zone = config.timezone or store.settings().get("timezone") or machine_zone()
    checks = {epoch.number: epoch.check for epoch in keys.epochs if epoch.check is not None}
    # With a database a store is often empty, and its rows are there.
    store.bind(settings(config, zone), checks, anew=config.database is None)
    return rules(config, zone)


def settings(config: Config, zone: str) -> dict[str, str]:
    """Return what pseudonyms and keys depend on, as a store records it."""
    return {
        "normal_form": str(NormalForm.VERSION),
        "fold_local_part": _word(config.fold_local_part),
        "cut_detail": _word(config.cut_detail),
        "queue_id": config.queue_id,
        "timezone": zone,
    }


def route(config: Config, keys: Keyring) -> Route:
    """Return the way of rows from the store to the database, and what both must agree on.

    Zones are not among it: the hosts of a fleet may have several.
    """
    assert config.database is not None
    agreed = {name: value for name, value in settings(config, "").items() if name != "timezone"}
    checks = {epoch.number: epoch.check for epoch in keys.epochs if epoch.check is not None}
    return Route(config.store, config.database, " ".join(f"{name}={value}" for name, value in agreed.items()), checks)


def _word(flag: bool) -> str:
    return "true" if flag else "false"


def rules(config: Config, zone: str) -> Rules:
    """Return the config as the core uses it."""
    networks, hosts = [], set()
    for relay in config.internal_relays:
        network = _network(relay)
        if network is None:
            hosts.add(relay.encode())
        else:
            networks.append(network)
    return Rules(
        local_domains=frozenset(domain.encode() for domain in config.local_domains),
        trusted_networks=tuple(filter(None, map(_network, config.trusted_networks))),
        internal_networks=tuple(networks),
        internal_hosts=frozenset(hosts),
        header_tokens=config.header_tokens,
        timezone=time_zone(zone),
        plain_queue_id=config.queue_id == "plain",
        dropped_rejects=frozenset(CATEGORIES) - frozenset(config.rejects),
        reject_patterns=config.reject_patterns,
        form=NormalForm(config.fold_local_part, config.cut_detail),
        patience=config.patience,
    )


def pipeline(rules: Rules, keys: Keyring, reader: Reader, journal: bool = False) -> Pipeline:
    """Return a pipeline under a keyring."""
    epochs = [Epoch(epoch.number, epoch.since, epoch.until, epoch.secret) for epoch in keys.epochs]
    return Pipeline(rules, epochs, keys.correlation, reader, journal)


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def time_zone(name: str) -> tzinfo:
    """Return a zone by its name in the IANA database."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise Fault(CONFIG, f"there is no time zone {name} here; install tzdata, or set timezone: UTC") from None


def machine_zone() -> str:
    """Return the name of this machine's time zone, as /etc/localtime links it; UTC where it does not tell."""
    try:
        target = os.readlink("/etc/localtime")
    except OSError:
        return "UTC"
    _, found, name = target.partition("zoneinfo/")
    name = name.removeprefix("posix/")
    return name if found and (Path("/usr/share/zoneinfo") / name).exists() and name != "Etc/UTC" else "UTC"
