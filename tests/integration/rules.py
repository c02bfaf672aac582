"""Random rules of rsyslog and syslog-ng, each action of which writes a file of its own: what a daemon does with lines
is then to be seen, and can be held against what doctor says of the rules.
"""

from __future__ import annotations

import random
from pathlib import Path

SELECTORS = [
    "mail.*", "mail.info", "mail.=err", "mail.!=info", "*.*;mail.none", "*.warning;mail.!err", "mail,news.err",
    "*.=info", "news.*", "*.*;mail.!*", "mail.warn;mail.!=err", "mail.*;mail.!warning", "mail.none", "*.!err",
    "*.info;mail.none;mail.=crit", "mail.6", "*.*;auth,authpriv.none", "daemon,mail.=warning",
]  # fmt: skip
PROPERTIES = [
    ':programname, startswith, "postfix"', ':programname, isequal, "postfix"', ':programname, !isequal, "dovecot"',
    ':syslogtag, contains, "smtpd"', ':syslogtag, startswith, "postfix/"', ':syslogtag, regex, "^postfix"',
    ':programname, ereregex, "^(postfix|x)$"', ':msg, contains, "to="', ':programname, !startswith, "post"',
    ':syslogseverity-text, isequal, "err"', ':syslogfacility-text,isequal,"mail"', ':pri, isequal, "22"',
    ':fromhost-ip, !isequal, "127.0.0.1"', ':app-name, isequal, "postfix"', ':syslogseverity, isequal, "6"',
]  # fmt: skip
EXPRESSIONS = [
    '$programname == "postfix"', "$syslogseverity <= 4", 'not ($programname startswith "postfix")',
    'not $programname startswith "post"', '$programname == ["a","postfix"]', '$programname != ["a", "b"]',
    '$syslogfacility-text == "mail" and $syslogseverity-text == "info" or $programname == "x"',
    '$programname == "x" or $programname == "postfix" and $syslogseverity > 4', 'prifilt("mail.err")',
    're_match($programname, "^post")', '$syslogtag contains "qmgr" and not ($syslogseverity-text == "err")',
    '$msg contains "xyz"', '$msg contains "to"', '$programname startswith_i "POSTFIX"', "$syslogfacility == 2",
    '$syslogtag == "postfix/smtpd[1]:"', '$programname contains ["x","fix"]', '$syslogseverity-text != "info"',
    'not ($syslogseverity < 4 and $programname == "postfix")', '$programname startswith "postfix/"',
    '$fromhost-ip == "127.0.0.1"', '$syslogseverity == "6"', "$programname", "1 == 1", '"a" == "b"', "$pri == 22",
    '$syslogfacility-text == "mail" and /* no } end */ $programname startswith "postfix"',
    'tolower($programname) == \'postfix\'', '$syslogseverity-text == ["err", "info"] and not (prifilt("mail.=err"))',
]  # fmt: skip
FILTERS = [
    "facility(mail)", "facility(news, mail)", "facility(2)", "not facility(mail)", "facility(auth..news)",
    "facility(local0..local7)", "level(err)", "level(info .. crit)", "level(warning..emerg)", "priority(info,err)",
    "severity(crit)", 'program("postfix")', 'program("^postfix" type(pcre))', 'program("postfix" type(string))',
    'program("postfix" type(string) flags(prefix))', 'program("fix/q" type(string) flags(substring))',
    'program("postfix/s*" type(glob))', 'program("^(postfix|x)/(smtpd|qmgr)$" type(pcre))', 'message("to=")',
    'program("POSTFIX" flags(ignore-case))', 'match("xyz" value("MESSAGE"))', 'host("mx1")', "filter(f_named)",
    'match("^postfix/qmgr" value("PROGRAM"))', "filter(f_other)",
]  # fmt: skip
NAMED = """\
filter f_named { facility(mail) and level(info..err) };
filter f_other { not filter(f_named) or program("qmgr"); };
"""


class Dice:
    """Chance, and names for files."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.number = 0

    def file(self, case: int) -> str:
        self.number += 1
        return f"{self.folder}/{case}-{self.number}"

    def one(self, *ways: str) -> str:
        return self.random.choice(ways)

    def under(self, share: float) -> bool:
        return self.random.random() < share


def rsyslog(dice: Dice, case: int, depth: int = 0) -> str:
    """Some statements."""
    return "".join(_statement(dice, case, depth) for _ in range(dice.random.randint(2, 5) if not depth else 2))


def _action(dice: Dice, case: int) -> str:
    file = dice.file(case)
    return dice.one(
        file, f"-{file}", f'action(type="omfile" file="{file}")', f"-{file};RSYSLOG_TraditionalFileFormat",
        f'action(type="omfile"\n  # a comment with a " quote and a }}\n  file="{file}" )',
    )  # fmt: skip


def _statement(dice: Dice, case: int, depth: int) -> str:
    match dice.one("action", "action", "stop", "nothing", "selector", "property", "if", "if"):
        case "action":
            return _action(dice, case) + "\n"
        case "stop":
            return dice.one("stop\n", "~\n", "stop # and no more\n") if depth else ""
        case "nothing":
            return dice.one('set $.x = "a;b";\n', "continue\n", "# mail.* stop\n", "/* stop\n */\n")
        case "selector":
            return f"{dice.one(*SELECTORS)}  {_body(dice, case, depth)}"
        case "property":
            return f"{dice.one(*PROPERTIES)} {_body(dice, case, depth)}"
    text = f"if {dice.one(*EXPRESSIONS)} then {_block(dice, case, depth)}"
    return text + (f" else {_block(dice, case, depth)}\n" if dice.under(0.3) else "\n")


def _body(dice: Dice, case: int, depth: int) -> str:
    one, other = _action(dice, case), _action(dice, case)
    return dice.one(f"{one}\n", f"{one}\n& stop\n", f"{one}\n& {other}\n", "stop\n", f"{_block(dice, case, depth)}\n")


def _block(dice: Dice, case: int, depth: int) -> str:
    inner = rsyslog(dice, case, depth + 1) if depth <= 1 else ""
    return f"{{\n{inner}{_action(dice, case)}\n}}"


def syslog_ng(dice: Dice, case: int) -> str:
    """Some log paths of source s_CASE."""
    return "\n".join(_path(dice, case, 0) for _ in range(dice.random.randint(1, 4)))


def _path(dice: Dice, case: int, depth: int) -> str:
    flags = ["", "", "flags(final);", "flags(final, flow-control);"]
    flags += [] if depth else ["flags(fallback);", "flags(fallback, final);"]
    source = "" if depth else f"source(s_{case});"
    return f"log {{ {source} {_parts(dice, case, depth)} {dice.one(*flags)} }};"


def _parts(dice: Dice, case: int, depth: int) -> str:
    parts = [_part(dice, case, depth) for _ in range(dice.random.randint(1, 3))]
    if depth < 2 and dice.under(0.25):  # log paths inside stand last
        parts += [_path(dice, case, depth + 1) for _ in range(dice.random.randint(1, 3))]
    return " ".join(parts)


def _destination(dice: Dice, case: int) -> str:
    return f'destination {{ file("{dice.file(case)}" template("$MSGHDR$MSG\\n")); }};'


def _part(dice: Dice, case: int, depth: int) -> str:
    match dice.one("filter", "filter", "destination", "destination", "destination", "if", "other", "junction"):
        case "filter":
            return f"filter {{ {_expression(dice)}; }};"
        case "if" if depth < 2:
            text = f"if ({_expression(dice)}) {{ {_parts(dice, case, depth + 1)} }}"
            text += f" elif ({_expression(dice)}) {{ {_parts(dice, case, depth + 1)} }}" if dice.under(0.4) else ""
            return text + (f" else {{ {_parts(dice, case, depth + 1)} }};" if dice.under(0.5) else ";")
        case "other" if depth < 2:
            first = f"filter {{ {_expression(dice)}; }}; {_destination(dice, case)}"
            return f"if {{ {first} }} else {{ {_destination(dice, case)} }};"
        case "junction" if depth < 2:
            channels = [f"channel {{ {_parts(dice, case, 2)} {dice.one('', 'flags(final);')} }};" for _ in range(2)]
            return f"junction {{ {' '.join(channels)} }};"
    return _destination(dice, case)


def _expression(dice: Dice, depth: int = 0) -> str:
    one = dice.one(*FILTERS)
    if depth > 1:
        return one
    other = _expression(dice, depth + 1)
    return dice.one(one, one, f"not {one}", f"{one} and {other}", f"{one} or {other}", f"not ({other})")
