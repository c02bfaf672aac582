"""Postfix: logs of its own, lines that our rules miss, header checks, and what makes it tell more than it should."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from sink.tools.doctor import postfixconf
from sink.tools.doctor.finding import Finding, found, not_understood
from sink.tools.doctor.postfixconf import Instance, Service
from sink.tools.doctor.probe import FACILITIES, Probe, probes
from sink.tools.doctor.tree import Tree, shown
from sink.tools.enabling.mail import TABLES

FOLDER: Final = "/etc/postfix"
_OURS: Final = tuple(f"postsink_{table}" for table in TABLES)
_PARTS: Final = ("mime_header_checks", "nested_header_checks")
_LEVEL: Final = re.compile(r"\w+_tls_(?:client_)?loglevel|tlsproxy_\w*loglevel")
_DUMPED: Final = 3  # "also log hexadecimal and ASCII dump of the TLS negotiation" [postconf(5)]

Takes = Callable[[list[Probe]], bool]


def folders(tree: Tree) -> list[str]:
    """Return the folders of all instances that are configured, the first one first."""
    if not tree.has_file(f"{FOLDER}/main.cf"):
        return []
    named = postfixconf.read(tree, FOLDER).value("multi_instance_directories") or ""
    more = [path for path in re.split(r"[,\s]+", named) if path]
    more += [path for path in tree.glob("/etc/postfix-*") if tree.has_file(f"{path}/main.cf")]
    return list(dict.fromkeys([FOLDER, *more]))


def findings(tree: Tree, folder: str, takes: Takes) -> Iterator[Finding]:
    """Yield what is wrong with an instance; `takes` tells whether lines come to postsink and to nothing else."""
    instance = postfixconf.read(tree, folder)
    yield from _log_files(instance)
    if takes(probes()):
        yield from _missed(instance, takes)
    for service in (None, *instance.services):
        yield from _header_checks(instance, service)
        yield from _talkative(instance, service)
    yield from not_understood("postfix-not-understood", instance.not_understood)


def logs_headers(tree: Tree, folder: str) -> Finding | None:
    """Return what to say where our header checks are on while the log is raw."""
    instance = postfixconf.read(tree, folder)
    for service in (None, *instance.services):
        for name in TABLES:
            if any(_is_ours(word) for word in _tables(instance, name, service)):
                words = "postsink's header checks are on, and raw lines still reach the log"
                return found("postfix-headers-raw", instance.raw(name, service).place, words)
    return None


def _settings(instance: Instance, name: str) -> Iterator[tuple[Service | None, str | None]]:
    """Yield the values that a parameter has: in main.cf, and for services that have their own."""
    yield None, instance.value(name)
    for service in instance.services:
        if name in service.given:
            yield service, instance.value(name, service)


def _log_files(instance: Instance) -> Iterator[Finding]:
    for service, value in _settings(instance, "maillog_file"):
        if value != "":
            where = shown(value) if value else "a file"
            place = instance.raw("maillog_file", service).place
            yield found("postfix-log-file", place, f"Postfix writes its lines to {where} itself")


def _missed(instance: Instance, takes: Takes) -> Iterator[Finding]:
    """Find names and facilities whose lines do not come to postsink, or not to it alone."""
    seen = set()
    for service in (None, *instance.services):
        name, facility = instance.value("syslog_name", service), instance.value("syslog_facility", service)
        if (name, facility) in seen:
            continue
        seen.add((name, facility))
        named, located = instance.raw("syslog_name", service).place, instance.raw("syslog_facility", service).place
        if name is None or facility not in FACILITIES:
            place, what = (named, "syslog_name") if name is None else (located, "syslog_facility")
            yield found("postfix-not-understood", place, f"doctor can't work out {what}")
        elif not takes(probes(facility=facility)):
            yield found("postfix-facility-missed", located, f"lines of the facility {facility} do not come to postsink")
        elif not takes(probes(name, facility)):
            yield found("postfix-name-missed", named, f"lines of the program {shown(name, 40)} do not come to postsink")


def _tables(instance: Instance, name: str, service: Service | None) -> list[str]:
    value = instance.value(name, service)
    return [word for word in re.split(r"[,\s]+", value or "") if word]


def _is_ours(table: str) -> bool:
    return table.rpartition("/")[2] in _OURS


def _header_checks(instance: Instance, service: Service | None) -> Iterator[Finding]:
    """Find our tables in a wrong place; of a service only what its own options bring about."""

    def is_own(*names: str) -> bool:
        return service is None or any(name in service.given for name in names)

    for name in TABLES:
        tables = _tables(instance, name, service)
        ours = [at for at, table in enumerate(tables) if _is_ours(table)]
        if is_own(name) and ours and ours[0] < len(tables) - 1:
            place = instance.raw(name, service).place
            yield found("postfix-headers-first", place, f"postsink's table stands before another one in {name}")
    for name in _PARTS:
        if is_own(name, "header_checks") and any(_is_ours(table) for table in _tables(instance, name, service)):
            place = instance.raw(name, service).place
            if place.line is None:
                place = instance.raw("header_checks", service).place
            yield found("postfix-headers-of-parts", place, f"postsink's table is in {name}, by default or by name")


def _talkative(instance: Instance, service: Service | None) -> Iterator[Finding]:
    """Find what makes Postfix log dialogues and dumps."""
    own = instance.main if service is None else service.given
    for name, parameter in own.items():
        value = instance.value(name, service)
        if name == "debug_peer_list" and value != "":
            yield found("postfix-debug-peer", parameter.place, "debug_peer_list is not empty")
        elif _LEVEL.fullmatch(name) and (value is None or not value.isdecimal() or int(value[:9]) >= _DUMPED):
            yield found("postfix-tls-dump", parameter.place, f"{name} is {_DUMPED} or more")
    if service and "v" in service.options:
        yield found("postfix-verbose", service.place, f"the service {service.command} runs with -v")
    if service and "D" in service.options:
        yield found("postfix-debugger", service.place, f"the service {service.command} runs with -D")
