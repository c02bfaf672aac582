"""Prints the config file of the Debian package: packaging/postsink.yaml, with the two keys set that its units are for.

The unit hands the seal down as a credential; root's commands take it from the file. And there is a datagram socket,
for `postsink enable journald`.
"""

import re
from pathlib import Path

SET = {
    "seal": "[{credential: postsink-seal}, {file: /etc/postsink/seal.key}]",
    "listen": "[{stream: /run/postsink/stream}, {datagram: /run/postsink/log/dev-log, mode: 0666}]",
}


def shipped() -> str:
    """Return the file."""
    text = (Path(__file__).parent / "postsink.yaml").read_text(encoding="utf-8")
    for key, value in SET.items():
        text, number = re.subn(rf"^#({key}): (.*)$", rf"#\1: \2\n\1: {value}", text, flags=re.M)
        if number != 1:
            raise ValueError(f"postsink.yaml has {number} lines for {key}")
    return text


if __name__ == "__main__":
    print(shipped(), end="")
