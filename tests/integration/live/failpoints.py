"""Kills the program at a chosen place; nothing in the program itself knows of this.

WRAPPER runs the command line behind its own three arguments (place, number, store) and gives itself SIGKILL when it
comes to the place for the Nth time:

    parse        lines have become events, nothing is stored
    insert       all statements of a transaction were executed, its COMMIT was not
    commit       a transaction is committed, nothing is confirmed
    before-ok    a confirmation is made up, and not sent
    after-ok     a confirmation is sent
    checkpoint   SQLite writes from the WAL into the store's file, which it does at no other time
    reload       SIGHUP has come, and the config is about to be read again
    reloaded     ... and was read

A confirmation is eight bytes to a socket, or OK to stdout.
"""

PLACES = ("parse", "insert", "commit", "before-ok", "after-ok", "checkpoint", "reload")

WRAPPER = """\
import ctypes, os, signal, socket, sys, threading

place, number, store = sys.argv[1], int(sys.argv[2]), sys.argv[3]
seen = 0

def passes(here):
    global seen
    if here == place:
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

def before(owner, name, here):
    real = getattr(owner, name)
    def watched(*given, **named):
        passes(here)
        return real(*given, **named)
    setattr(owner, name, watched)

def after(owner, name, here):
    real = getattr(owner, name)
    def watched(*given, **named):
        found = real(*given, **named)
        passes(here)
        return found
    setattr(owner, name, watched)

def around(owner, name, holds):
    real = getattr(owner, name)
    def watched(where, data, *given):
        if not holds(where, data):
            return real(where, data, *given)
        passes("before-ok")
        found = real(where, data, *given)
        passes("after-ok")
        return found
    setattr(owner, name, watched)

def watch_writes():
    # inotify(7): read() returns when the file is modified; only a checkpoint writes into it.
    libc = ctypes.CDLL(None)
    watch = libc.inotify_init()
    if libc.inotify_add_watch(watch, store.encode(), 2) >= 0:
        while True:
            os.read(watch, 4096)
            passes("checkpoint")

from sink import config
from sink.core.pipeline import Pipeline
from sink.stores import opening, sqlite

connect = opening.connect
def traced(path, mode):
    connection = connect(path, mode)
    # One state alone is a transaction of one statement.
    writing = ("COMMIT", "INSERT OR REPLACE INTO open_message")
    connection.set_trace_callback(lambda text: text.startswith(writing) and passes("insert"))
    if place == "checkpoint" and threading.active_count() == 1:
        connection.execute("PRAGMA wal_autocheckpoint = 20")
        threading.Thread(target=watch_writes, daemon=True).start()
    return connection
opening.connect = traced

loads = 0
load = config.load
def loaded(*given):
    global loads
    loads += 1
    if loads > 1:
        passes("reload")
    found = load(*given)
    if loads > 1:
        passes("reloaded")
    return found
config.load = loaded

after(Pipeline, "take" if hasattr(Pipeline, "take") else "feed", "parse")
after(sqlite.SqliteStore, "commit", "commit")
for name in ("send", "sendall"):
    around(socket.socket, name, lambda where, data: len(data) == 8)
around(os, "write", lambda where, data: bytes(data) == b"OK\\n" or len(data) == 8 and where > 2)

from sink import cli
sys.exit(cli.main(sys.argv[4:]))
"""
