"""Ways out of a process: each lets a line out that the search must find, or must say that it can't see.

They run in a bare Python, with the line in `line` and `text`; so whatever a bug of ours could use is tried, used or
not. `call` makes a system call that Python has no name for.
"""

from __future__ import annotations

BEFORE = """
import ctypes, os, sys
line = sys.stdin.buffer.readline().rstrip(b"\\n")
text = line.decode()
def call(number, *given):
    return ctypes.CDLL(None, use_errno=True).syscall(number, *given)
def unlinked():
    file = os.open("gone", os.O_RDWR | os.O_CREAT)
    os.unlink("gone")
    return file
"""
# Of x86-64 and of the table that newer architectures share, by machine.
NUMBERS = {"shmget": {"x86_64": 29, "aarch64": 194}, "add_key": {"x86_64": 248, "aarch64": 217},
           "vmsplice": {"x86_64": 278, "aarch64": 75}, "msgget": {"x86_64": 68, "aarch64": 186},
           "msgsnd": {"x86_64": 69, "aarch64": 189}}  # fmt: skip
IO_URING_SETUP = 425  # everywhere

WAYS = {
    "stdout": 'print(text)',
    "stderr": 'print(text, file=sys.stderr)',
    "a file": 'open("left", "wb").write(line)',
    "a file that is unlinked": 'os.write(unlinked(), line)',
    "a file without a name": 'os.write(os.open(".", os.O_TMPFILE | os.O_RDWR), line)',
    "a temporary file": 'import tempfile; tempfile.TemporaryFile().write(line)',
    "a file elsewhere": 'name = "/var/tmp/postsink-leak-way"; open(name, "wb").write(line); os.unlink(name)',
    "a file in /dev/shm": 'name = "/dev/shm/postsink-leak-way"; open(name, "wb").write(line); os.unlink(name)',
    "memory with a descriptor": 'os.write(os.memfd_create("x"), line)',
    "a name of memory": 'os.memfd_create(text[:200])',
    "a file's name": 'open(text.split()[-1].replace("/", ""), "w").close()',
    "a folder's name": 'os.mkdir(text[:200].replace("/", "")); os.rmdir(text[:200].replace("/", ""))',
    "where a link leads": 'os.symlink(text, "link")',
    "a new name": 'open("x", "w"); os.rename("x", text[:200].replace("/", "")); os.rename(os.listdir()[-1], "x")',
    "an attribute": 'open("x", "w"); os.setxattr("x", "user.from", line)',
    "a fifo's name": 'name = text[:99].replace("/", ""); os.mkfifo(name); os.unlink(name)',
    "a socket's name": 'import socket; socket.socket(socket.AF_UNIX).bind("\\0" + text[:90])',
    "argv": 'import subprocess; subprocess.run(["true", text])',
    "the environment": 'import subprocess; subprocess.run(["true"], env={**os.environ, "SENDER": text})',
    "a program that is not there": 'try: os.execv("/nowhere", ["x", text])\nexcept OSError: pass',
    "the name of the process": 'ctypes.CDLL(None).prctl(15, line[4:19], 0, 0, 0)',
    "another's input": 'import subprocess; subprocess.run(["cat"], input=line, stdout=unlinked())',
    "a grandchild that lives on": 'if not os.fork():\n    os.setsid()\n    while os.getppid() != 1 and os.getppid() == '
                                  'int(os.environ.get("P", "0")): pass\n    os.write(unlinked(), line)',
    "a thread": 'import threading; threading.Thread(target=os.write, args=(unlinked(), line)).start()',
    "two writes": 'file = unlinked(); at = len(line) // 2; os.write(file, line[:at]); os.write(file, line[at:])',
    "half in each of two files": 'os.write(unlinked(), line[:10]); os.write(unlinked(), line[10:17])',
    "a byte at a time": 'file = unlinked(); [os.write(file, bytes([byte])) for byte in line]',
    "two descriptors": 'file = unlinked(); other = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_APPEND)\n'
                       'for at in range(0, len(line), 3): os.write((file, other)[at % 2 and 1], line[at:at + 3])',
    "several buffers": 'os.writev(unlinked(), [line[at:at + 2] for at in range(0, len(line), 2)])',
    "pieces from the end": 'file = unlinked()\n'
                           'for at in reversed(range(0, len(line), 4)): os.pwrite(file, line[at:at + 4], at)',
    "pieces by seeking": 'file = unlinked()\nfor at in reversed(range(0, len(line), 4)):\n'
                         '    os.lseek(file, at, 0); os.write(file, line[at:at + 4])',
    "pieces by pwritev": 'file = unlinked()\n'
                         'for at in reversed(range(0, len(line), 4)): os.pwritev(file, [line[at:at + 4]], at)',
    "two processes": 'file = os.open("gone", os.O_RDWR | os.O_CREAT | os.O_APPEND); os.write(file, line[:-9])\n'
                     'if not os.fork(): os.write(file, line[-9:]); os._exit(0)\nos.wait(); os.unlink("gone")',
    "a shared mapping": 'import mmap; file = os.open("x", os.O_RDWR | os.O_CREAT); os.ftruncate(file, 4096)\n'
                        'mmap.mmap(file, 4096)[:len(line)] = line',
    "a shared mapping of what is unlinked": 'import mmap; file = unlinked(); os.ftruncate(file, 4096)\n'
                                            'mmap.mmap(file, 4096)[:len(line)] = line',
    "a shared mapping of what was renamed": 'import mmap; file = os.open("x", os.O_RDWR | os.O_CREAT); '
                                            'os.ftruncate(file, 4096); os.rename("x", "y")\n'
                                            'mmap.mmap(file, 4096)[:len(line)] = line; os.unlink("y")',
    "a shared mapping of memory": 'import mmap; file = os.memfd_create("x"); os.ftruncate(file, 4096)\n'
                                  'mmap.mmap(file, 4096)[:len(line)] = line',
    "sendfile": 'os.sendfile(unlinked(), os.open(sys.argv[1], os.O_RDONLY), 0, 4096)',
    "sendfile of what is unlinked": 'file = os.open("gone", os.O_RDWR | os.O_CREAT); os.unlink("gone")\n'
                                    'os.sendfile(unlinked(), file, 0, 10)',
    "copy_file_range": 'os.copy_file_range(os.open(sys.argv[1], os.O_RDONLY), unlinked(), 4096)',
    "splice": 'read, write = os.pipe(); os.splice(os.open(sys.argv[1], os.O_RDONLY), write, 4096)\n'
              'os.splice(read, unlinked(), 4096)',
    "vmsplice": 'read, write = os.pipe(); call({vmsplice}, write, 0, 0, 0)',
    "io_uring": 'call({io_uring}, 8, ctypes.create_string_buffer(200))',
    "System V's shared memory": 'call({shmget}, 0, 4096, 0o1600)',
    "System V's messages": 'queue = call({msgget}, 0, 0o1600); call({msgsnd}, queue, b"\\1" + b"\\0" * 7 + line, '
                           'len(line), 0)\nctypes.CDLL(None).msgctl(queue, 0, 0)',
    "the kernel's keyring": 'call({add_key}, b"user", b"x", line, len(line), -2)',
    "a reflink": 'import fcntl\ntry: fcntl.ioctl(unlinked(), 0x40049409, os.open(sys.argv[1], os.O_RDONLY))\n'
                 'except OSError: pass',
    "keys typed for somebody": 'import fcntl\ntry: fcntl.ioctl(0, 0x5412, b"x")\nexcept OSError: pass',
    "a socket pair": 'import socket; socket.socketpair()[0].sendmsg([line[:20], line[20:]])',
    "a datagram to syslog": 'import socket; one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n'
                            'try: one.sendto(line, "/dev/log")\nexcept OSError: pass',
    "syslog": 'import syslog; syslog.syslog(text)',
    "the name of who logs": 'import syslog; syslog.openlog(text); syslog.syslog("x")',
    "a descriptor that is handed over": 'import socket; pair = socket.socketpair(socket.AF_UNIX)\n'
                                        'socket.send_fds(pair[0], [b"x"], [unlinked()])',
    "the network": 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))',
    "history of what was typed": 'import readline; readline.add_history(text)\n'
                                 'readline.write_history_file(os.environ["HOME"] + "/.python_history")',
    "a compiled module": 'import py_compile; open("x.py", "w").write(f"X = {text!r}"); py_compile.compile("x.py")\n'
                         'os.unlink("x.py")',
    "a pickle": 'import pickle; os.write(unlinked(), pickle.dumps({text: 1}))',
    "a packed file": 'import gzip; os.write(unlinked(), gzip.compress(line))',
    "a temporary table": 'import sqlite3; store = sqlite3.connect("x"); store.execute("PRAGMA temp_store = 1")\n'
                         'store.execute("PRAGMA temp.cache_size = 1"); store.execute("CREATE TEMP TABLE t (x)")\n'
                         'store.executemany("INSERT INTO t VALUES (?)", [(text + "x" * 4000,)] * 99)',
    "a text over several pages": 'import sqlite3; store = sqlite3.connect("x"); store.execute("CREATE TABLE t (x)")\n'
                                 'at = text.rindex("@") if "@" in text else 9\n'
                                 'store.executemany("INSERT INTO t VALUES (?)", [("y" * (4000 + n * 3) + text,) for n '
                                 'in range(50)]); store.commit()',
    "an address as a number": 'import sqlite3; store = sqlite3.connect("x"); store.execute("CREATE TABLE t (x)")\n'
                              'store.execute("INSERT INTO t VALUES (3405803783)"); store.commit()',
    "a digest without a key": 'import hashlib, sqlite3; store = sqlite3.connect("x")\n'
                              'store.execute("CREATE TABLE t (x)"); word = line.split(b"<")[-1].split(b">")[0]\n'
                              'store.execute("INSERT INTO t VALUES (?)", (hashlib.sha256(word).digest()[:16],))\n'
                              'store.commit()',
    "a table's name": 'import sqlite3\ntry: sqlite3.connect("x").execute(f"SELECT * FROM \\"{text}\\"")\n'
                      'except sqlite3.Error as error: print(error, file=sys.stderr)',
    "a core": 'import resource, signal; most = resource.getrlimit(resource.RLIMIT_CORE)[1]\n'
              'resource.setrlimit(resource.RLIMIT_CORE, (most, most)); os.kill(os.getpid(), signal.SIGSEGV)',
}  # fmt: skip
# While it lives: what nothing but /proc shows. It says that it is ready, and waits.
LIVING = {
    "the command line, written over": 'fields = open("/proc/self/stat").read().rpartition(")")[2].split()\n'
                                      'ctypes.memmove(int(fields[45]), line[-40:], 40)',
    "the environment, written over": 'fields = open("/proc/self/stat").read().rpartition(")")[2].split()\n'
                                     'ctypes.memmove(int(fields[47]), line[-40:], 40)',
    "an open file that is unlinked, by a mapping": 'import mmap; file = unlinked(); os.ftruncate(file, 4096)\n'
                                                   'mmap.mmap(file, 4096)[:len(line)] = line',
}  # fmt: skip
