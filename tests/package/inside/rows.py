"""Runs in the mail host: prints what of the views is judged, as JSON, and the pseudonyms of all addresses noted.

`rows.py`: of the store; `rows.py DATABASE`: of that database in PostgreSQL.
"""

import json
import subprocess
import sys
from pathlib import Path

NOTES = Path(__file__).parent / "notes"
COLUMNS = 'sender, recipient, "from", "to", status, subject_size, origin, is_outgoing, agent, host, message_id'
REFUSED = "recipient, category, stage"
SQLITE = """\
import json, sqlite3, sys
store = sqlite3.connect("file:/var/lib/postsink/postsink.sqlite?mode=ro", uri=True)
print(json.dumps(store.execute(sys.argv[1]).fetchall()))
"""


def rows(columns, view):
    """Ask as the owner: root would leave files of its own beside the store."""
    if len(sys.argv) > 1:
        question = f"SELECT coalesce(json_agg(json_build_array({columns})), '[]') FROM {view}"
        words = ["psql", "-qAtX", "-d", sys.argv[1], "-c", question]
    else:
        words = ["python3", "-c", SQLITE, f"SELECT {columns} FROM {view}"]
    names = columns.replace('"', "").split(", ")
    found = json.loads(subprocess.check_output(["runuser", "-u", "_postsink", "--", *words], cwd="/"))
    return [dict(zip(names, row, strict=True)) for row in found]


def main():
    addresses = set()
    with NOTES.open() as notes:
        for line in notes:
            one = json.loads(line)
            addresses |= {one["sender"], *one["recipients"]}
    listed = sorted(addresses)
    given = "".join(f"{one}\n" for one in listed).encode()
    said = subprocess.run(["postsink", "pseudonym"], input=given, stdout=subprocess.PIPE, check=True).stdout
    pseudonyms = dict(zip(listed, said.decode().splitlines(), strict=True))
    found = {"deliveries": rows(COLUMNS, "delivery_text"), "refusals": rows(REFUSED, "reject_text")}
    print(json.dumps({"pseudonyms": pseudonyms, **found}))


main()
