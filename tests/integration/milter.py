"""Plays the least milter that adds headers: the Sendmail milter protocol, version 6, of libmilter/mfapi.h."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# What the mail server says (SMFIC_) and we answer (SMFIR_); a packet is its length, a letter, data.
_NEGOTIATE, _BODY_END, _MACROS, _ABORT, _QUIT = b"O", b"E", b"D", b"A", b"Q"
_CONTINUE, _ADD_HEADER, _ACCEPT = b"c", b"h", b"a"
_MAY_ADD_HEADERS = 1  # SMFIF_ADDHDRS


@contextmanager
def milter_that_adds(headers: list[tuple[str, str]]) -> Iterator[int]:
    """Run it on a loopback port of its own, which is given."""

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while size := self.rfile.read(4):
                packet = self.rfile.read(int.from_bytes(size))
                command = packet[:1]
                if command == _QUIT:
                    return
                if command == _NEGOTIATE:
                    self.reply(_NEGOTIATE, struct.pack("!III", 6, _MAY_ADD_HEADERS, 0))
                elif command == _BODY_END:
                    for name, value in headers:
                        self.reply(_ADD_HEADER, f"{name}\0{value}\0".encode())
                    self.reply(_ACCEPT)
                elif command not in (_MACROS, _ABORT):
                    self.reply(_CONTINUE)

        def reply(self, letter: bytes, data: bytes = b"") -> None:
            self.wfile.write(struct.pack("!I", 1 + len(data)) + letter + data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Session) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
