"""Makes the man pages out of docs/, syslog-conf/ and packaging/postsink.yaml: `manual.py FOLDER`.

What is said twice is soon said in two ways, so the pages say nothing of their own but NAME and SYNOPSIS.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parents[1]


class Part(NamedTuple):
    """A section of a page: its title, and a document with a heading; without a heading, all of the document."""

    title: str
    document: str
    heading: str = ""


class Page(NamedTuple):
    """A man page."""

    name: str
    number: int
    words: str
    synopsis: tuple[str, ...]
    parts: tuple[Part, ...]
    see: str


COMMANDS = "docs/commands.md"
EXIT = Part("EXIT STATUS", COMMANDS, "## Exit statuses")
WHO = Part("WHO RUNS WHAT", COMMANDS, "## Who runs what")
PAGES = (
    Page(
        "postsink", 1, "keeps knowledge of a mail host's mail without keeping its users' addresses",
        ("postsink [--config FILE] COMMAND", "postsink --help", "postsink --version"),
        (Part("COMMANDS", COMMANDS, "# Commands, config, exit statuses"), WHO, EXIT),
        "postsink-import(1), postsink-lookup(1), postsink-report(1), postsink-export(1), postsink-scrub(1), "
        "postsink-keys(8), postsink-run(8), postsink-omprog(8), "
        "postsink-enable(8), postsink-doctor(8), postsink.yaml(5)",
    ),
    Page(
        "postsink-import", 1, "reads archived logs into the store",
        ("postsink import [--json] [--year YEAR] [--stream NAME] [FILE ...]",),
        (Part("DESCRIPTION", COMMANDS, "## import"), EXIT),
        "postsink(1), postsink.yaml(5)",
    ),
    Page(
        "postsink-lookup", 1, "finds a person's rows, or forgets the person",
        (
            "postsink lookup [--since TIME] [--until TIME] [--sender] [--recipient] [--json]",
            "postsink forget [--again] [--yes]", "postsink pseudonym",
        ),
        (Part("DESCRIPTION", COMMANDS, "## A person's rows"), EXIT),
        "postsink(1), postsink-keys(8)",
    ),
    Page(
        "postsink-report", 1, "makes a page of figures and numbers about the mail of a time",
        ("postsink report [--since TIME] [--until TIME] [--top N] [--output FILE]",),
        (Part("DESCRIPTION", "docs/report.md"), EXIT),
        "postsink(1), postsink-export(1), postsink-lookup(1), postsink.yaml(5)",
    ),
    Page(
        "postsink-export", 1, "writes a data set for somebody outside",
        (
            "postsink export --recipient NAME --release ID --output FOLDER [--format FORMAT]",
            "    [--since TIME] [--until TIME] [--time WIDTH] [--size WIDTH] [--k NUMBER] [--with WORDS]",
        ),
        (Part("DESCRIPTION", COMMANDS, "## export"), Part("THE DATA", "docs/data.md"), EXIT),
        "postsink(1), postsink-lookup(1), postsink.yaml(5)",
    ),
    Page(
        "postsink-scrub", 1, "writes log lines again, with pseudonyms in the place of what is somebody's",
        ("postsink scrub [--digits N] [--year YEAR] [FILE ...]",),
        (Part("DESCRIPTION", "docs/scrub.md"), EXIT),
        "postsink(1), postsink-import(1), postsink.yaml(5)",
    ),
    Page(
        "postsink-keys", 8, "makes, rotates, destroys and hands on the keys of the pseudonyms",
        (
            "postsink keys init", "postsink keys list", "postsink keys rotate [--in TIME]",
            "postsink keys destroy [--yes] EPOCH", "postsink keys reseal", "postsink keys export --to FILE",
            "postsink keys import FILE",
        ),
        (Part("DESCRIPTION", COMMANDS, "## Keys"), EXIT),
        "postsink(1), postsink.yaml(5)",
    ),
    Page(
        "postsink-run", 8, "takes lines of the log as they come",
        (
            "postsink run [--stdin] [--daemonize [--pid-file FILE]]",
            "postsink status [--json | --check] [--max-silence TIME] [--max-wait TIME]",
        ),
        (Part("DESCRIPTION", COMMANDS, "## run and omprog"), Part("STATUS", "docs/status.md"), WHO, EXIT),
        "postsink(1), postsink-omprog(8), postsink-enable(8), postsink.yaml(5), systemd.service(5)",
    ),
    Page(
        "postsink-omprog", 8, "hands lines from rsyslog to the daemon, and confirms them",
        ("postsink omprog [--direct]",),
        (
            Part("DESCRIPTION", COMMANDS, "## run and omprog"),
            Part("RSYSLOG", "syslog-conf/rsyslog/README.md"), EXIT,
        ),
        "postsink(1), postsink-run(8), postsink-enable(8), rsyslogd(8)",
    ),
    Page(
        "postsink-enable", 8, "tells rsyslog, syslog-ng, journald and Postfix of postsink, or takes that back",
        (
            "postsink enable [--dry-run] rsyslog|syslog-ng|journald",
            "postsink enable [--dry-run] [--subject size|none] postfix",
            "postsink disable [--dry-run] rsyslog|syslog-ng|journald|postfix|all",
        ),
        (Part("DESCRIPTION", COMMANDS, "## enable and disable"), Part("WAYS", "syslog-conf/README.md"), EXIT),
        "postsink(1), postsink-doctor(8), postsink-omprog(8), header_checks(5)",
    ),
    Page(
        "postsink-doctor", 8, "finds where raw lines still reach a disk, and secrets that are open",
        ("postsink doctor [--root FOLDER] [--json]",),
        (Part("DESCRIPTION", "docs/doctor.md"),),
        "postsink(1), postsink-enable(8)",
    ),
)  # fmt: skip

_CELL = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*")
_LISTED = re.compile(r"(?:\*|\d+\.) +")


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, down to the next one of its level; of the first one, to the next of any."""
    level = 2 if heading.startswith("# ") else heading.index(" ")
    after = text[text.index(f"{heading}\n") + len(heading) :]
    return re.split(rf"^#{{1,{level}}} ", after, maxsplit=1, flags=re.M)[0]


def plain(text: str) -> str:
    """Return text as roff takes it."""
    text = text.replace("\\|", "|").replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(re.sub(r"^([.'])", r"\\&\1", line) for line in text.split("\n"))


def inline(text: str) -> str:
    """Return a paragraph with its code and emphasis in bold."""
    text = _LINK.sub(r"\1", " ".join(text.split())).replace("; see below", "")
    found, end = [], 0
    for match in _INLINE.finditer(text):
        found += [plain(text[end : match.start()]), f"\\fB{plain(match[1] or match[2].replace('`', ''))}\\fR"]
        end = match.end()
    made = "".join([*found, plain(text[end:])])
    return f"\\&{made}" if made.startswith((".", "'")) else made


def roff(text: str) -> Iterator[str]:
    """Yield the lines of a page for a document."""
    for found in re.split(r"\n{2,}", _IMAGE.sub("", re.sub(r"(?s)(```.*?```)", _whole, f"\n{text}\n"))):
        block = found.strip("\n")
        if not block.strip():
            continue
        if block.startswith("```") or block.startswith("    "):
            yield from _code(block)
        elif block.startswith("#"):
            title, _, rest = block.partition("\n")
            yield f'.SS "{plain(title.lstrip("# "))}"'
            yield from roff(rest)
        elif block.startswith("|"):
            yield from _table(block.split("\n"))
        elif _LISTED.match(block):
            yield from _list(block)
        elif "\n* " in block:
            first, _, rest = block.partition("\n* ")
            yield from (".PP", inline(first), *_list(f"* {rest}"))
        else:
            yield from (".PP", inline(block))


_GAP = "\x00"  # stands for a blank line within code


def _whole(code: re.Match[str]) -> str:
    return "\n\n" + code[0].replace("\n\n", f"\n{_GAP}\n") + "\n\n"


def _code(block: str) -> Iterator[str]:
    lines = [line.removeprefix("    ") for line in block.split("\n") if not line.startswith("```")]
    yield from (".PP", ".RS 4", ".nf", *(plain(line.replace(_GAP, "")) for line in lines), ".fi", ".RE")


def _list(block: str) -> Iterator[str]:
    for item in re.split(r"\n(?=(?:\*|\d+\.) )", block):
        yield from (".IP \\(bu 2", inline(_LISTED.sub("", item, count=1)))


def _table(lines: list[str]) -> Iterator[str]:
    rows = [[cell.strip() for cell in _CELL.split(line)[1:-1]] for line in lines]
    heads, rows = rows[0], rows[2:]
    for tag, *cells in rows:
        yield from (".TP", f".B {inline(tag.replace('`', '')) or '(none)'}", inline(cells[0]) or "\\&")
        for head, cell in zip(heads[2:], cells[1:], strict=True):
            if cell:
                yield from (".br", f"{inline(head)}: {inline(cell)}")


def page(made: Page, version: str) -> str:
    """Return a man page."""
    lines = [_head(made.name, made.number, made.words, version), ".SH SYNOPSIS", ".nf", ".B"]
    lines[-1:] = [f".B {plain(words)}" for words in made.synopsis]
    lines.append(".fi")
    for title, document, heading in made.parts:
        text = (TOP / document).read_text(encoding="utf-8")
        text = section(text, heading) if heading else text.partition("\n")[2]
        lines += [f".SH {title}", *roff(text)]
    lines += [".SH FILES", *_files(), ".SH SEE ALSO", plain(made.see), ""]
    return "\n".join(lines)


def _head(name: str, number: int, words: str, version: str) -> str:
    title = f'.TH {plain(name).upper()} {number} "" "postsink {version}" "postsink"'
    return f"{title}\n.SH NAME\n{plain(name)} \\- {plain(words)}"


def _files() -> Iterator[str]:
    for path, words in (
        ("/etc/postsink/postsink.yaml", "the config; see postsink.yaml(5)"),
        ("/etc/postsink/seal.key", "what locks the keyring: root's alone"),
        ("/var/lib/postsink", "keyring and store, of the user _postsink"),
        ("/run/postsink", "the sockets"),
    ):
        yield from (".TP", f".I {plain(path)}", plain(words))


def yaml_page(text: str, version: str) -> str:
    """Return postsink.yaml(5) out of the config file's comments."""
    lines = [_head("postsink.yaml", 5, "the config file of postsink", version), ".SH DESCRIPTION"]
    for block in re.split(r"\n{2,}", text.strip()):
        title = re.match(r"# -+ (.+?) -+$", block)
        if title:
            lines.append(f".SH {plain(title[1]).upper()}")
            continue
        key = re.search(r"^#?(\w+):(.*)\Z", block, re.M)
        lines += [".TP", f".B {key[1]}"] if key else [".PP"]
        last = f"\n# Default: {key[2].strip()}" if key and key[2].strip() else ""
        body = block[: key.start()].rstrip("\n") if key else block
        lines += _key(re.sub(rf"\A# {key[1]}: ", "# ", body) + last if key else body)
    lines += [".SH SEE ALSO", plain("postsink(1), postsink-run(8)"), ""]
    return "\n".join(lines)


def _key(block: str) -> Iterator[str]:
    """Yield the lines of a key's comment: its purpose, and a paragraph for each labelled line."""
    words: list[str] = []
    for line in block.split("\n"):
        text = line.removeprefix("#")
        begins = re.match(r" (?:Consequence|Example|Default): | {3}(?=\{|passphrase)", text)
        if begins and words:
            yield from (inline(" ".join(words)), ".br")
            words = []
        words.append(text.strip())
    yield inline(" ".join(words))


def main(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = re.search(r'^__version__ = "(.*)"$', (TOP / "sink/__init__.py").read_text(encoding="utf-8"), re.M)
    assert found
    for made in PAGES:
        (folder / f"{made.name}.{made.number}").write_text(page(made, found[1]), encoding="utf-8")
    sample = (TOP / "packaging/postsink.yaml").read_text(encoding="utf-8")
    (folder / "postsink.yaml.5").write_text(yaml_page(sample, found[1]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
