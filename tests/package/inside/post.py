"""Runs in the mail host: sends mails, each to recipients of its own, and notes what Postfix has taken.

`post.py FIRST NUMBER PAUSE`: numbers FIRST to FIRST + NUMBER - 1, PAUSE seconds between two, or until a file STOP is
there. A mail that Postfix did not take, since it was just being stopped, is sent again. Every name holds the canary.
It lies, with its notes, beside the mailboxes, where addresses belong.
"""

import json
import os
import smtplib
import subprocess
import sys
import threading
from pathlib import Path

FOLDER = Path(__file__).parent
CANARY = (FOLDER / "canary").read_text().strip()
NOTES, STOP = FOLDER / "notes", FOLDER / "stop"
STRANGER, COLLEAGUE = "198.51.100.173", "192.0.2.5"


def mail(number):
    """Return one of five kinds of mail."""
    name = f"{CANARY}{number}"
    kind = ("in", "out", "local", "two", "refused")[number % 5]
    recipients = {
        "in": [f"{name}.to@example.com"],
        "out": [f"{name}@example.net"],
        "local": [f"{name}.to@example.com"],
        "two": [f"{name}.to@example.com", f"{name}@example.net"],
        "refused": [f"{name}@example.com"],
    }[kind]
    sender = f"{name}@example.org" if kind in ("in", "refused") else f"{name}.from@example.com"
    subject = "x" * (1 + number % 50) + f" {CANARY}"
    return {"number": number, "kind": kind, "sender": sender, "recipients": recipients, "subject": subject}


def text(one):
    to = ", ".join(one["recipients"])
    return (
        f"From: Some {CANARY} <{one['sender']}>\r\nTo: {to}\r\nSubject: {one['subject']}\r\n"
        f"Message-ID: <{CANARY}.{one['number']}@host.{CANARY}.example>\r\n\r\nHello\r\n"
    ).encode()


def post(one):
    """Send it; tell whether Postfix has it, or has refused it for good."""
    if one["kind"] == "local":
        words = ["sendmail", "-i", "-f", one["sender"], *one["recipients"]]
        given = text(one).replace(b"\r\n", b"\n")
        return not subprocess.run(words, input=given, stderr=subprocess.DEVNULL, check=False).returncode
    address = COLLEAGUE if one["kind"] in ("out", "two") else STRANGER
    try:
        with smtplib.SMTP("127.0.0.1", 25, local_hostname=f"helo.{CANARY}.example", timeout=20) as smtp:
            smtp.docmd("XCLIENT", f"NAME=client.{CANARY}.example ADDR={address}")
            smtp.ehlo()
            smtp.sendmail(one["sender"], one["recipients"], text(one))
    except smtplib.SMTPRecipientsRefused as refused:
        return all(code == 550 for code, _ in refused.recipients.values())
    except (OSError, smtplib.SMTPException):
        return False
    return True


def main():
    first, number, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    waiting = threading.Event()
    with NOTES.open("a") as notes:

        def note(one):
            notes.write(json.dumps(one) + "\n")
            notes.flush()

        for each in range(first, first + number):
            one = mail(each)
            note({**one, "tries": 0})  # whoever is killed now does not know whether it was taken
            tries = 1
            while not post(one):
                tries += 1
                waiting.wait(0.2)
            note({**one, "tries": tries})
            if os.path.exists(STOP):
                break
            waiting.wait(pause)


if __name__ == "__main__":
    main()
