"""Makes root the owner of the installation, for good, before it touches keyring or store.

The owner is who owns the folder of the store (where that is missing, of the keyring): no key of the config says so,
since whoever owns the folder must be able to write all that is in it. Where root owns it, root stays root. What root
alone can read is opened before: seals here, and files of the command line by the commands that name them.
"""

import os
import pwd
import shlex
from contextlib import suppress
from pathlib import Path

from sink import hardening, rootonly
from sink.config import Config, CredentialSeal, FileSeal
from sink.fault import CONFIG, NOPERM, Fault


def become_owner(config: Config, remedy: str = "") -> None:
    """Leave root's rights behind; does nothing for others than root. Faults: 77 where that is forbidden, 78."""
    if os.geteuid() != 0:
        return
    folder = rootonly.folder_of(config.store, config.keyring)
    if folder is None or folder.st_uid == 0:
        return
    user = folder.st_uid
    account = _account(user)
    name = account.pw_name if account else str(user)
    _check_owner(config, user, name)
    for seal in config.seal:
        if isinstance(seal, FileSeal):
            rootonly.hold(seal.path)
        elif isinstance(seal, CredentialSeal):
            rootonly.hold(Path(os.environ.get("CREDENTIALS_DIRECTORY", "/"), seal.name))
    hardening.raise_limit()  # while it may
    try:
        if account is None:
            _become(user, folder.st_gid or user)
        else:
            _become(user, account.pw_gid, name)
            os.environ["HOME"] = account.pw_dir  # libpq looks there for its files
    except OSError:
        remedy = remedy or f"run this as {name}, or let root own that folder"
        raise Fault(NOPERM, f"root may not become {name} here, who owns {config.store.parent}; {remedy}") from None
    hardening.hide()  # the change undoes it where fs.suid_dumpable says so [proc(5)]


def _account(user: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(user)
    except KeyError:  # in a container, say
        return None


def _check_owner(config: Config, user: int, name: str) -> None:
    """Refuse what root itself left there: its owner-to-be could not use it."""
    beside = [config.store.name + end for end in ("", "-wal", "-shm", ".forgotten", ".imports")]
    locks = sorted(config.store.parent.glob("*.lock"))
    for path in (config.keyring, *map(config.store.with_name, beside), *locks):
        with suppress(OSError):
            if os.stat(path).st_uid != user:
                words = f"type: chown {name} {shlex.quote(str(path))}"
                raise Fault(CONFIG, f"{path} does not belong to {name}, as the folder of the store does; {words}")


def _become(user: int, group: int, name: str = "") -> None:
    """Change all user and group ids; raises OSError where that fails, or could be undone."""
    if name:
        os.initgroups(name, group)  # what listen: may hand to a group, it may hand to one of these
    else:
        os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    if os.getresuid() != (user, user, user) or os.getresgid() != (group, group, group):
        raise PermissionError
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return
    raise PermissionError
