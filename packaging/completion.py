"""Prints what makes a shell complete postsink's command line: `completion.py bash`, `completion.py zsh`.

It is made out of the parser itself, so that no command or option is forgotten.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sink import arguments

BASH = """\
# bash completion for postsink; made by packaging/completion.py
_postsink() {
    local cur prev word path= words options
    cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case $prev in
        @FILE_OPTIONS@) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames; return ;;
        @FOLDER_OPTIONS@) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); compopt -o filenames; return ;;
@CHOSEN@
        @VALUE_OPTIONS@) return ;;
    esac
    local skip=
    for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
        if [ -n "$skip" ]; then skip=; continue; fi
        case $word in
            @TAKING@) skip=yes ;;
            -*) ;;
            *) case "$path $word" in
@PATHS@
            esac ;;
        esac
    done
    case $path in
@WORDS@
    esac
    case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur") ;;
        *)
            if [ "$words" = FILE ]; then
                mapfile -t COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames
            else
                mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
            fi ;;
    esac
}
complete -F _postsink postsink
"""
ZSH = """\
#compdef postsink
# zsh completion for postsink; made by packaging/completion.py
@FUNCTIONS@
_postsink "$@"
"""


def below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands under a parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def helps(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return what each command under a parser does."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {each.dest: each.help or "" for each in action._choices_actions}
    return {}


def every(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield all commands, each with the words that lead to it."""
    yield path, parser
    for name, child in below(parser).items():
        yield from every(child, f"{path} {name}")


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options that are meant to be typed."""
    return [one for one in parser._actions if one.option_strings and one.help != argparse.SUPPRESS]


def names(action: argparse.Action) -> list[str]:
    """Return an option's long name, or all where it has none."""
    return [name for name in action.option_strings if name.startswith("--")] or list(action.option_strings)


def positional(parser: argparse.ArgumentParser) -> list[str]:
    """Return the words that may follow, or FILE."""
    found = list(below(parser))
    for action in parser._actions:
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            found += list(action.choices or (["FILE"] if action.metavar == "FILE" else []))
    return found


def bash() -> str:
    """Return the completion for bash."""
    commands = list(every(arguments.parser()))
    taking = {name: one for _, parser in commands for one in options(parser) if one.nargs != 0 for name in names(one)}
    files = [name for name, one in taking.items() if one.type is Path and one.metavar == "FILE"]
    folders = [name for name, one in taking.items() if one.type is Path and one.metavar == "FOLDER"]
    chosen = {name: one.choices for name, one in taking.items() if one.choices}
    values = [name for name in taking if name not in {*files, *folders, *chosen}]
    parts = {
        "@FILE_OPTIONS@": "|".join(files), "@FOLDER_OPTIONS@": "|".join(folders), "@VALUE_OPTIONS@": "|".join(values),
        "@TAKING@": "|".join(taking),
        "@CHOSEN@": "\n".join(
            f'        {name}) mapfile -t COMPREPLY < <(compgen -W "{" ".join(words)}" -- "$cur"); return ;;'
            for name, words in chosen.items()
        ),
        "@PATHS@": "\n".join(f'                "{path}") path="{path}" ;;' for path, _ in commands if path),
        "@WORDS@": "\n".join(
            f'        "{path}") words="{" ".join(positional(parser))}"'
            f' options="{" ".join(name for one in options(parser) for name in names(one))}" ;;'
            for path, parser in commands
        ),
    }  # fmt: skip
    return re.sub("|".join(parts), lambda found: parts[found[0]], BASH)


def zsh() -> str:
    """Return the completion for zsh."""
    return ZSH.replace("@FUNCTIONS@", "\n".join(_function(*each) for each in every(arguments.parser())))


def _function(path: str, parser: argparse.ArgumentParser) -> str:
    name = "_postsink" + re.sub("[ -]", "_", path)
    specs = [_option(one) for one in options(parser)]
    commands = below(parser)
    if not commands:
        specs += _positional(parser)
        return f"{name}() {{\n    _arguments {' '.join(specs)}\n}}"
    described = " ".join(_quoted(f"{word}:{words}") for word, words in helps(parser).items())
    cases = "\n".join(f"            {word}) {name}_{re.sub('-', '_', word)} ;;" for word in commands)
    return (
        f"{name}() {{\n    local line state\n    local -a commands=({described})\n"
        f"    _arguments -C {' '.join(specs)} '1:command:->command' '*::argument:->argument'\n"
        f"    case $state in\n        command) _describe command commands ;;\n"
        f"        argument) case $line[1] in\n{cases}\n        esac ;;\n    esac\n}}"
    )


def _option(action: argparse.Action) -> str:
    words = re.sub(r"([\[\]:])", r"\\\1", action.help or "")
    value = ""
    if action.nargs != 0:
        what = f"({' '.join(action.choices)})" if action.choices else "_files" if action.type is Path else ""
        value = f":{action.metavar or action.dest}:{what}"
    return _quoted(f"{names(action)[0]}[{words}]{value}")


def _positional(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if not action.option_strings:
            what = f"({' '.join(action.choices)})" if action.choices else "_files" if action.metavar == "FILE" else ""
            many = "*" if action.nargs == "*" else ""
            yield _quoted(f"{many}:{action.metavar or action.dest}:{what}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    print({"bash": bash, "zsh": zsh}[sys.argv[1]](), end="")
