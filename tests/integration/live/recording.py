"""Plays the servers that a Postfix sends to: they answer as told, and write down what they took and what they refused.

What a server wrote down is the truth that rows are judged by: it comes from the wire, and never from a log. The queue
id of a mail that is taken is the one in its topmost Received header.
"""

from __future__ import annotations

import base64
import re
import smtplib
import socketserver
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

TAKEN = "250 2.1.5 Ok"
NAME = "mx.example.net"


class Taken(NamedTuple):
    """One recipient of a mail that a server is now responsible for."""

    queue_id: str  # of who sent it
    next_queue_id: str  # what the server called it
    sender: str
    recipient: str
    size: int
    message_id: str | None
    parent: str | None  # the message that it notifies of


class Refused(NamedTuple):
    """One recipient that a server did not take, this time."""

    sender: str
    recipient: str
    reply_code: int
    dsn: str


def queue_id_of(data: bytes) -> str:
    """Return the queue id in the topmost Received header."""
    header = re.search(rb"(?mi)^Received:.*(?:\r?\n[ \t].*)*", data)
    assert header, "a mail without a Received header"
    found = re.search(rb"\sid (\w+)(?:;|\s)", header[0])
    assert found, header[0]
    return found[1].decode()


def notified_of(data: bytes) -> str | None:
    """Return the queue id that a notification is about; None for any other mail."""
    return _first(rb"^X-Postfix-Queue-ID: (\w+)", data)


def _first(pattern: bytes, data: bytes) -> str | None:
    found = re.search(pattern, data, re.MULTILINE)
    return found[1].decode() if found else None


class Server(socketserver.ThreadingTCPServer):
    """A server on a port of its own.

    answers: the replies to a recipient, the last one for ever. ends: the reply to a mail for a recipient, at its end.
    """

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, answers: dict[str, list[str]] | None = None, ends: dict[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self._ends = ends or {}
        self.port = int(self.server_address[1])
        self.taken: list[Taken] = []
        self.refused: list[Refused] = []
        self._answers = defaultdict(list, {to: list(all_of) for to, all_of in (answers or {}).items()})
        self._lock = threading.Lock()

    def answer(self, sender: str, recipient: str) -> str:
        with self._lock:
            left = self._answers[recipient]
            reply = (left.pop(0) if len(left) > 1 else left[0]) if left else TAKEN
            if not reply.startswith("250"):
                self._refuse(sender, recipient, reply)
            return reply

    def _refuse(self, sender: str, recipient: str, reply: str) -> None:
        self.refused.append(Refused(sender, recipient, int(reply[:3]), reply.split()[1]))

    def take(self, sender: str, recipients: list[str], data: bytes) -> str:
        """Write a mail down; return the reply to its end."""
        called = self.passed_on(sender, recipients, data)
        with self._lock:
            for reply in (self._ends[one] for one in recipients if one in self._ends):
                for recipient in recipients:
                    self._refuse(sender, recipient, reply)
                return reply
            called = called or f"FA{len(self.taken):08X}"
            self.taken += [
                Taken(
                    queue_id_of(data), called, sender, recipient, len(data),
                    _first(rb"(?i)^Message-ID: *<(.*)>", data), notified_of(data),
                )
                for recipient in recipients
            ]  # fmt: skip
        return self.words(called)

    def passed_on(self, sender: str, recipients: list[str], data: bytes) -> str | None:
        """Return what the next server calls it; None where there is no next one."""
        return None

    def words(self, called: str) -> str:
        return f"250 2.0.0 Ok: queued as {called}"


class Filter(Server):
    """A content filter: it adds a score and hands the mail back [as amavisd-new does, and in its words]."""

    def __init__(self, way_back: int) -> None:
        super().__init__()
        self._way_back = way_back

    def passed_on(self, sender: str, recipients: list[str], data: bytes) -> str | None:
        with smtplib.SMTP("127.0.0.1", self._way_back, local_hostname="localhost", timeout=30) as smtp:
            smtp.ehlo()
            smtp.mail(sender)
            for recipient in recipients:
                assert smtp.rcpt(recipient)[0] == 250
            code, reply = smtp.data(b"X-Spam-Score: 5.1\r\n" + data)
            assert code == 250
        return reply.decode().split()[-1]

    def words(self, called: str) -> str:
        return f"250 2.0.0 from MTA(smtp:[127.0.0.1]:{self._way_back}): 250 2.0.0 Ok: queued as {called}"


class _Session(socketserver.StreamRequestHandler):
    """One client [RFC 5321]; with 8BITMIME nothing is rewritten on the way, so a mail keeps its size."""

    server: Server
    timeout = 60

    def handle(self) -> None:
        self._say(f"220 {NAME} ESMTP")
        sender, recipients = "", list[str]()
        for line in iter(self.rfile.readline, b""):
            word = line[:4].upper()
            if word == b"MAIL":
                sender, recipients = self._address(line), []
                self._say("250 2.1.0 Ok")
            elif word == b"RCPT":
                reply = self.server.answer(sender, self._address(line))
                recipients += [self._address(line)] if reply.startswith("250") else []
                self._say(reply)
            elif word == b"DATA" and recipients:
                self._say("354 Go on")
                self._say(self.server.take(sender, recipients, self._data()))
            elif word == b"DATA":
                self._say("554 5.5.1 No valid recipients")
            elif word == b"EHLO":
                self._say(f"250-{NAME}\r\n250 8BITMIME")
            elif word == b"QUIT":
                self._say("221 2.0.0 Bye")
                return
            else:
                self._say("250 " + NAME)

    def _say(self, reply: str) -> None:
        self.wfile.write(reply.encode() + b"\r\n")

    @staticmethod
    def _address(line: bytes) -> str:
        return line[line.index(b"<") + 1 : line.rindex(b">")].decode()

    def _data(self) -> bytes:
        lines = []
        for line in iter(self.rfile.readline, b".\r\n"):
            assert line, "the client has gone in the middle of a mail"
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)


class Logins(socketserver.ThreadingTCPServer):
    """Says yes to each login, as Dovecot's auth service does [Postfix src/xsasl/xsasl_dovecot_server.c]."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Login)
        self.port = int(self.server_address[1])


class _Login(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nDONE\n")
        for line in iter(self.rfile.readline, b""):
            word, number, *fields = line.rstrip(b"\n").split(b"\t")
            if word == b"AUTH":
                [response] = [field[5:] for field in fields if field.startswith(b"resp=")]
                user = base64.b64decode(response).split(b"\0")[1]
                self.wfile.write(b"OK\t%b\tuser=%b\n" % (number, user))


@contextmanager
def running(*servers: socketserver.TCPServer) -> Iterator[None]:
    """Run servers until the block ends."""
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
