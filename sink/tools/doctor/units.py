"""systemd's files: sections of key=value lines, a main file and its drop-ins, in systemd's order of precedence.

Of two files of one name the one of the earlier folder counts, and a link to /dev/null counts as an empty one. All
drop-ins are read after the main file, in order of their names, whatever folder they are in [systemd.syntax(7),
systemd.unit(5), journald.conf(5)].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sink.tools.doctor.tree import Place, Tree

_FOLDERS: Final = (
    "/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a file."""

    section: str
    key: str
    value: str
    place: Place


@dataclass(frozen=True, slots=True)
class Settings:
    """All lines of a main file and its drop-ins, in the order they count."""

    lines: tuple[Setting, ...]
    files: tuple[str, ...]
    masked: bool = False

    def last(self, section: str, *keys: str) -> Setting | None:
        """Return the line that counts for a key, or for a key with several names."""
        found = [line for line in self.lines if line.section == section and line.key in keys]
        return found[-1] if found else None

    def listed(self, section: str, key: str) -> list[Setting]:
        """Return the lines that count for a key that makes a list; an empty one begins it anew."""
        found: list[Setting] = []
        for line in self.lines:
            if line.section == section and line.key == key:
                found = [*found, line] if line.value else []
        return found


def configuration(tree: Tree, name: str) -> Settings:
    """Return the settings of one of systemd's daemons, such as journald.conf."""
    main = [f"{folder}/{name}" for folder in _FOLDERS]
    return _settings(tree, main, [f"{folder}/{name}.d" for folder in _FOLDERS])


def unit(tree: Tree, name: str) -> Settings:
    """Return the settings of a unit; none where it is not there."""
    names = [name]
    stem, at, rest = name.partition("@")
    if at:
        names.append(f"{stem}@.{rest.rpartition('.')[2]}")
    main = [f"{folder}/system/{each}" for each in names for folder in _FOLDERS]
    kind = name.rpartition(".")[2]
    dashed = [f"{stem[: at + 1]}.{kind}" for at in range(len(stem) - 1, 0, -1) if stem[at] == "-"]
    folders = [f"{folder}/system/{each}.d" for each in (*names, *dashed, kind) for folder in _FOLDERS]
    found = _settings(tree, main, folders)
    masks = [path for path in main[: len(_FOLDERS)] if tree.link(path) == "/dev/null"]
    files = [path for path in main[: len(_FOLDERS)] if tree.has_file(path)]
    is_masked = bool(masks) and (not files or main.index(masks[0]) < main.index(files[0]))
    return Settings(found.lines, found.files, is_masked)


def _settings(tree: Tree, main: Sequence[str], folders: Sequence[str]) -> Settings:
    files = [path for path in main if tree.has_file(path)][:1]
    drop_ins: dict[str, str] = {}
    for folder in folders:
        for name in tree.names(folder):
            if name.endswith(".conf"):
                drop_ins.setdefault(name, f"{folder}/{name}")
    files += [drop_ins[name] for name in sorted(drop_ins)]
    lines = [line for path in files for line in parsed(tree.text(path) or "", path)]
    return Settings(tuple(lines), tuple(files))


def parsed(text: str, path: str) -> Iterator[Setting]:
    """Yield the settings of one file."""
    section = ""
    for number, line in _logical(text):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        key, sign, value = line.partition("=")
        if sign:
            yield Setting(section, key.strip(), value.strip(), Place(path, number))


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers: a last \\ joins the next one, past comments between."""
    held, first = "", 0
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.strip()
        if line.startswith(("#", ";")) or (not line and not held):
            continue
        first = first if held else number
        if line.endswith("\\"):
            held += f"{line[:-1]} "
            continue
        yield first, (held + line).strip()
        held = ""
    if held:
        yield first, held.strip()
