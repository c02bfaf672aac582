"""Shows postsink on one small log: makes keys and a store in demo/out, imports mail.log, prints the rows.

`demo.py` starts afresh; `demo.py SQL` asks the store of the last demo. The keyring and its seal lie side by
side here, as they never should where the mail is real.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
STORE, CONFIG = OUT / "demo.sqlite", OUT / "postsink.yaml"
COMMAND = [str(Path(sys.executable).parent / "postsink"), "--config", str(CONFIG)]

SETTINGS = """\
store: demo.sqlite
keyring: keyring
seal: {file: seal.key}
local_domains: [example.com]
header_tokens: header-tokens
"""
# The one that stands in mail.log. A real one is random and readable by root alone.
HEADER_TOKEN = "d3moT0kenN0tReal\n"

FIRST_ROWS = """
SELECT substr(logged_at, 12, 8) AS logged, sender, recipient, status, coalesce(reason, '') AS reason, delay,
       origin, iif(is_outgoing, 'out', 'in') AS way, iif(is_list, 'yes', '') AS list, subject_size AS subject
FROM delivery_text ORDER BY logged_at, id LIMIT 16
"""
BY_STATUS = "SELECT status, count(*) AS deliveries FROM delivery_text GROUP BY status ORDER BY 2 DESC, 1"
REFUSED = "SELECT category, count(*) AS refusals FROM reject_text GROUP BY category ORDER BY 2 DESC, 1"
QUESTION = "SELECT sender, count(*) FROM delivery_final GROUP BY 1"


def shown(value: object) -> str:
    """Shorten a pseudonym of 32 hex digits, or each half of an address, to its first six."""
    text = "" if value is None else str(value)
    halves = text.split("@")
    if all(len(half) == 32 for half in halves):
        return "@".join(half[:6] for half in halves)
    return text


def print_table(query: str) -> None:
    with closing(sqlite3.connect(STORE.as_uri() + "?mode=ro", uri=True)) as store:
        cursor = store.execute(query)
        table = [[column[0] for column in cursor.description]]
        table += [[shown(cell) for cell in row] for row in cursor]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    for number, row in enumerate(table):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def make_store() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    os.umask(0o077)
    OUT.mkdir()
    CONFIG.write_text(SETTINGS)
    (OUT / "header-tokens").write_text(HEADER_TOKEN)
    for arguments in (["keys", "init"], ["import", str(HERE / "mail.log")]):
        print("$ postsink", *arguments[:1], *(Path(word).name for word in arguments[1:]), flush=True)
        subprocess.run([*COMMAND, *arguments], check=True)


def main() -> None:
    if len(sys.argv) > 1:
        print_table(sys.argv[1])
        return
    make_store()
    print("\nThe first rows of delivery_text, some of its columns (pseudonyms cut to six digits a half):\n")
    print_table(FIRST_ROWS)
    print("\nDelivery attempts by status:\n")
    print_table(BY_STATUS)
    print("\nRefused before delivery, by category:\n")
    print_table(REFUSED)
    store = os.path.relpath(STORE)
    python, postsink = os.path.relpath(sys.executable), os.path.relpath(COMMAND[0])
    config = os.path.relpath(CONFIG)
    print(f"""
The store is {store}, an SQLite file. Look further with one of:

  sqlite3 -box {store} '{QUESTION}'
  {python} demo/demo.py '{QUESTION}'
  {postsink} --config {config} explain demo/mail.log
  echo alice@example.com | {postsink} --config {config} pseudonym""")


if __name__ == "__main__":
    main()
