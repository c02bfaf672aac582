"""Makes a realistic Postfix log of any size from a seed.

    python -m bench.generate --lines 1000000 --seed 1 > mail.log
    python -m bench.generate --mix attack --headers none > mail.log        # see mixes.py

Two hosts (mx1: inbound behind postscreen, short queue ids; out1: outbound with SASL, long queue ids) log
through one syslogd, ISO 8601 with microseconds. Every second of log time starts new conversations; each
puts its lines into the seconds to come, so that the lines of many messages interleave. The rates are such
that the mix of line shapes is that of public logs (histogram.json; tests/unit/test_bench.py holds it there):
about 17 lines for a queue id, of which a message has 7 to 16 of its own and the rest is connections, bots,
DNS lists and statistics. A standing queue of dead mail is retried all the time, as on any server, so a log
begins with queue ids that were born before it. Names are of example.com, .net and .org, addresses of the
documentation ranges.
"""

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

from bench import lines
from bench.mixes import HEADERS, MIXES, Mix, mixed
from bench.pools import TABLE, People, long_id

START = 1_793_606_400  # 2026-11-02T08:00:00Z
SECOND = 1_000_000
TOKEN = b"k7Qm2Zx9RtW4bN8s"  # of our header_checks; bench.py configures it

# Of a standing queue; the rates are in mixes.py.
DEAD_NOTIFICATIONS = 0.05  # of notifications: their senders were made up
RETRY = 4_000  # seconds: maximal_backoff_time
FIRST_RETRY = 300  # minimal_backoff_time
LIFETIME = 432_000  # maximal_queue_lifetime

Bucket = list[tuple[int, bytes]]


class Mail(NamedTuple):
    """A message in a queue."""

    host: bytes
    queue_id: bytes
    sender: bytes
    size: int


class Waiting(NamedTuple):
    """A deferred recipient, and since when its message waits; 0 where the next attempt works."""

    mail: Mail
    to: bytes
    born: int


class Log:
    """The generator: a clock, the lines of the seconds to come, and what each conversation logs."""

    def __init__(self, seed: int, mix: Mix = MIXES["public"]) -> None:
        self.mix = mix
        self.dice = random.Random(seed)
        self.draw = self.dice.random
        self.people = People(self.dice)
        self.now = START
        self.seconds: defaultdict[int, Bucket] = defaultdict(list)
        self.retries: defaultdict[int, list[Waiting]] = defaultdict(list)
        self.inode = 0
        for _ in range(int(mix.standing * mix.messages)):
            born = START - self.dice.randrange(FIRST_RETRY, LIFETIME)
            host = self.host(0.25)
            sender = b"" if self.draw() < 0.44 else self.one_of(self.people.remote)
            queue_id = self.queue_id(host, born * SECOND + self.dice.randrange(SECOND))
            mail = Mail(host, queue_id, sender, self.size())
            waiting = Waiting(mail, self.one_of(self.people.remote), born)
            self.retries[START + self.dice.randrange(RETRY)].append(waiting)

    def host(self, share: float) -> bytes:
        """The host that something happens on: mx1 with this chance, unless one host logs everything."""
        return self.mix.host or (b"mx1" if self.draw() < share else b"out1")

    def one_of(self, table: list[bytes]) -> bytes:
        """One of a table, evenly."""
        return table[int(self.draw() * TABLE)]

    def put(self, micros: int, line: bytes) -> int:
        """Log a line at a time; returns the time at which the same process may log the next."""
        self.seconds[micros // SECOND].append((micros % SECOND, line))
        return micros + 200 + int(self.draw() * 4000)

    def size(self) -> int:
        """A message size in bytes."""
        return int(self.dice.lognormvariate(9.2, 1.4)) + 400

    def queue_id(self, host: bytes, micros: int) -> bytes:
        """A new queue id: short and soon used again on mx1, long on out1."""
        self.inode = (self.inode + 1) % 400
        if host == b"mx1":
            return b"%05X%06X" % (micros % SECOND, 0x218900 + self.inode)
        return long_id(micros, 500_000 + self.inode)

    def often(self, rate: float) -> int:
        """How often something happens that happens `rate` times on average."""
        return int(rate) + (self.draw() < rate % 1)

    def run(self) -> Iterator[list[bytes]]:
        """The log without end, a second at a time."""
        while True:
            self.start_conversations()
            found = self.seconds.pop(self.now, None)
            if found:
                found.sort()
                stamp = datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode()
                yield [b"%b%06d+00:00 %b" % (stamp, micros, line) for micros, line in found]
            self.now += 1

    def start_conversations(self) -> None:
        """Start what begins in this second."""
        base, draw = self.now * SECOND, self.draw
        wave = self.mix.messages * (0.5 + draw())
        for _ in range(self.often(wave)):
            self.message(base + int(draw() * SECOND))
        for _ in range(self.often(wave * self.mix.bots)):
            self.bot(base + int(draw() * SECOND))
        for _ in range(self.often(wave * self.mix.empty)):
            self.empty(base + int(draw() * SECOND))
        for _ in range(self.often(wave * self.mix.statistics)):
            self.statistics(base + int(draw() * SECOND))
        for waiting in self.retries.pop(self.now, ()):
            self.retry(waiting)

    def message(self, at: int) -> None:
        """A client brings a message, which is then delivered."""
        draw, put = self.draw, self.put
        host = self.host(self.mix.inbound)
        inbound = host == b"mx1"
        pid = 20_000 + int(draw() * 40)
        client = self.mix.client or self.one_of(self.people.clients)
        sender, recipients = self.envelope(inbound)
        if inbound and draw() < 0.9:
            at = self.passed(at, client)
        at = put(at, b"%b postfix/smtpd[%d]: connect from %b\n" % (host, pid, client))
        service, login = b"smtpd", b""
        if not inbound and draw() < self.mix.submitted:
            service, login = b"submission/smtpd", b", sasl_method=PLAIN, sasl_username=" + sender
        if draw() < self.mix.tls:
            at = put(at, lines.TLS % (host, service, pid, client, lines.CIPHER))
        mail = Mail(host, self.queue_id(host, at), sender, self.size())
        start = b"%b postfix/%b[%d]: %b: " % (host, service, pid, mail.queue_id)
        at = put(at, b"%bclient=%b%b\n" % (start, client, login))
        trailer = b"from %b; from=<%b> to=<%b> proto=ESMTP helo=<%b>" % (
            client, sender, recipients[-1], client.partition(b"[")[0]
        )
        at = self.content(at, mail, recipients, trailer)
        number = len(recipients)
        put(at + 900, lines.DISCONNECTED % (host, service, pid, client, number, number + 4))
        self.deliver(self.active(at, mail, number), mail, recipients)

    def active(self, at: int, mail: Mail, recipients: int) -> int:
        """The queue manager takes a message up."""
        host, queue_id, sender, size = mail
        return self.put(at, b"%b postfix/qmgr[911]: %b: from=<%b>, size=%d, nrcpt=%d (queue active)\n"
                        % (host, queue_id, sender, size, recipients))

    def removed(self, at: int, mail: Mail) -> None:
        """The queue manager is done with a message."""
        self.put(at, b"%b postfix/qmgr[911]: %b: removed\n" % (mail.host, mail.queue_id))

    def envelope(self, inbound: bool) -> tuple[bytes, list[bytes]]:
        """Sender and recipients of a message."""
        people, one_of = self.people, self.one_of
        number = 1 if self.draw() < self.mix.single else 2 + int(self.draw() * self.mix.crowd)
        recipients = [one_of(people.local if inbound else people.remote) for _ in range(number)]
        if not inbound:
            return self.writer(recipients), recipients
        if self.draw() < self.mix.lists:
            return lines.VERP % (one_of(people.lists), *recipients[0].split(b"@")), recipients
        return one_of(people.remote), recipients

    def writer(self, recipients: list[bytes]) -> bytes:
        """The sender of a message that leaves."""
        if self.mix.writer == "newsletter":
            return b"newsletter@example.com"
        if self.mix.writer == "people":
            return self.one_of(self.people.local)
        name = self.one_of(self.people.lists)
        return lines.VERP % (name, *recipients[0].split(b"@")) if len(recipients) == 1 else lines.LIST % name

    def content(self, at: int, mail: Mail, recipients: list[bytes], trailer: bytes) -> int:
        """What cleanup logs of a message: some headers, by our own header_checks, and the message-id."""
        draw, sender = self.draw, mail.sender
        start = b"%b postfix/cleanup[%d]: %b: " % (mail.host, 21_000 + int(draw() * 20), mail.queue_id)
        message_id = b"%x.%x@%b" % (at, int(draw() * 1e9), sender.rpartition(b"@")[2] or b"example.com")
        if draw() < self.mix.headers:
            hour, minute = divmod(self.now // 60 % 1440, 60)
            headers = [
                b"From: Somebody <%b>" % sender, b"To: " + b", ".join(recipients[:5]),
                b"Cc: %b" % self.one_of(self.people.remote), b"Reply-To: <%b>" % sender,
                b"Date: Mon, 02 Nov 2026 %02d:%02d:30 +0000" % (hour, minute),
                b"Subject: " + b"word " * (1 + int(draw() * 9)) + b"end",
                b"References: <%x@example.net>" % int(draw() * 1e12), b"In-Reply-To: <%x@example.net>" % at,
            ]
            if self.mix.headers == 1:
                headers.append(b"Precedence: " + (b"list" if b"-bounces" in sender else b"bulk"))
            for header in headers:
                at = self.put(at, lines.HEADER % (start, header[:200], trailer, TOKEN, header, TOKEN))
        return self.put(at, b"%bmessage-id=<%b>\n" % (start, message_id))

    def deliver(self, at: int, mail: Mail, recipients: list[bytes]) -> None:
        """The first attempt, for each recipient; what is left over is retried."""
        draw = self.draw
        waiting = refused = False
        mix = self.mix
        dead = mix.dead if mail.sender else DEAD_NOTIFICATIONS
        for to in recipients:
            fate = draw()
            if fate < mix.refused and mail.sender:
                at = self.bounced(at, mail, to)
                refused = True
            elif fate > 1 - dead - mix.greylisted:
                waiting = True
                at = self.deferred(at, mail, to, at // SECOND)
                born = 0 if fate > 1 - mix.greylisted else at // SECOND
                self.retries[at // SECOND + FIRST_RETRY].append(Waiting(mail, to, born))
            else:
                at = self.sent(at, mail, to, b"0.%d" % int(1 + draw() * 98))
        if refused:
            at = self.notify(at, mail)
        if not waiting:
            self.removed(at, mail)

    def sent(self, at: int, mail: Mail, to: bytes, delay: bytes) -> int:
        """A delivery that worked, by smtp or into a mailbox."""
        draw, put = self.draw, self.put
        host, queue_id = mail.host, mail.queue_id
        pid = 22_000 + int(draw() * 60)
        if host == b"mx1" and draw() < self.mix.mailboxes:
            return put(at + 3000, lines.SENT_BY_LMTP % (host, pid, queue_id, to, delay, to, at))
        at += 3000 + int(draw() * draw() * 3 * SECOND)
        relay = self.one_of(self.people.relays)
        if draw() < 0.1:
            at = put(at, b"%b postfix/smtp[%d]: Trusted TLS connection established to %b:25: %b\n"
                     % (host, pid, relay, lines.CIPHER))
        use = b"conn_use=%d, " % (2 + int(draw() * 9)) if draw() < 0.15 else b""
        reply = b"Ok: queued as %010X" % (at % (1 << 40)) if draw() < 0.4 else b"OK %d gsmtp" % at
        return put(at, lines.SENT_BY_SMTP % (host, pid, queue_id, to, relay, use, delay, reply))

    def bounced(self, at: int, mail: Mail, to: bytes) -> int:
        """A delivery that the peer refused for good."""
        relay = self.one_of(self.people.relays)
        pid = 22_000 + int(self.draw() * 60)
        line = lines.BOUNCED % (mail.host, pid, mail.queue_id, to, relay, relay, to)
        return self.put(at + int(self.draw() * 400_000), line)

    def deferred(self, at: int, mail: Mail, to: bytes, born: int) -> int:
        """A delivery that must wait, with what smtp says of each peer it tried."""
        draw, put = self.draw, self.put
        why, relay = draw(), self.one_of(self.people.relays)
        head = b"%b postfix/smtp[%d]: " % (mail.host, 22_000 + int(draw() * 60))
        age = at // SECOND - born
        times = b"delay=%d, delays=%d/0.02/1.2/0.3, dsn=4.0.0, status=deferred " % (age, max(0, age - 2))
        if why < 0.46:
            said = lines.TRY_LATER % (relay, to)
            at = put(at, b"%b%b: %b\n" % (head, mail.queue_id, said))
            reason = b"relay=%b:25, %b(%b)" % (relay, times, said)
        elif why < 0.55:
            said = b"host %b refused to talk to me: 421 4.7.0 too many connections" % relay
            at = put(at, b"%b%b: %b\n" % (head, mail.queue_id, said))
            reason = b"relay=%b:25, %b(%b)" % (relay, times, said)
        elif why < 0.94:
            said = b"connect to %b:25: Connection %b" % (relay, b"timed out" if draw() < 0.55 else b"refused")
            for _ in range(self.often(1.2)):
                at = put(at, b"%b%b\n" % (head, said))
            reason = b"relay=none, %b(%b)" % (times, said)
        else:
            reason = lines.NO_SUCH_HOST % (times, to.rpartition(b"@")[2])
        return put(at, b"%b%b: to=<%b>, %b\n" % (head, mail.queue_id, to, reason))

    def notify(self, at: int, mail: Mail) -> int:
        """A non-delivery notification: a message of its own."""
        host, sender = mail.host, mail.sender
        child = Mail(host, self.queue_id(host, at), b"", self.size())
        self.put(at, b"%b postfix/cleanup[%d]: %b: message-id=<%d.%b@%b.example.com>\n"
                 % (host, 21_000 + int(self.draw() * 20), child.queue_id, self.now, child.queue_id, host))
        at = self.put(at + 400, b"%b postfix/bounce[%d]: %b: sender non-delivery notification: %b\n"
                      % (host, 23_000 + int(self.draw() * 5), mail.queue_id, child.queue_id))
        self.deliver(self.active(at, child, 1), child, [sender])
        return at

    def retry(self, waiting: Waiting) -> None:
        """One more attempt. Dead mail expires in the end."""
        mail, to, born = waiting
        at = self.active(self.now * SECOND + int(self.draw() * SECOND), mail, 1)
        if not born:
            at = self.sent(at, mail, to, b"301")
        elif self.now - born > LIFETIME:
            at = self.put(at, b"%b postfix/qmgr[911]: %b: from=<%b>, status=expired, returned to sender\n"
                          % mail[:3])
            if mail.sender:
                at = self.notify(at, mail)
        else:
            self.deferred(at, mail, to, born)
            wait = min(RETRY, max(FIRST_RETRY, self.now - born))  # doubling, as qmgr_defer.c does
            self.retries[self.now + wait].append(waiting)
            return
        self.removed(at, mail)

    def passed(self, at: int, client: bytes) -> int:
        """postscreen lets a client through."""
        peer = b"%b:%d" % (client[client.index(b"["):], 1024 + int(self.draw() * 60_000))
        at = self.put(at, b"mx1 postfix/postscreen[640]: CONNECT from %b to [192.0.2.250]:25\n" % peer)
        return self.put(at, b"mx1 postfix/postscreen[640]: PASS OLD %b\n" % peer)

    def bot(self, at: int) -> None:
        """postscreen turns a bot away: DNS lists, a greeting too early, a hang-up."""
        draw, put = self.draw, self.put
        address = b"203.0.113.%d" % (1 + int(draw() * 254))
        peer = b"[%b]:%d" % (address, 1024 + int(draw() * 60_000))
        start = b"mx1 postfix/postscreen[640]: "
        at = put(at, b"%bCONNECT from %b to [192.0.2.250]:25\n" % (start, peer))
        for number in range(self.often(2.73)):
            pid, code = 24_000 + int(draw() * 30), 2 + int(draw() * 9)
            at = put(at, lines.LISTED % (pid, address, number, code))
        if draw() < 0.755:
            at = put(at + 50_000, b"%bPREGREET 14 after 0.%02d from %b: EHLO ylmf-pc\\r\\n\n"
                     % (start, int(draw() * 90), peer))
        at = put(at + 6 * SECOND, b"%bDNSBL rank %d for %b\n" % (start, 3 + int(draw() * 9), peer))
        if draw() < 0.01:
            put(at, b"%bCOMMAND TIME LIMIT from %b after EHLO\n" % (start, peer))
        if draw() < 0.215:
            tls = b"mx1 postfix/tlsproxy[641]: "
            at = put(at, b"%bCONNECT from %b\n" % (tls, peer))
            at = put(at, b"%bAnonymous TLS connection established from %b: %b\n" % (tls, peer, lines.CIPHER))
            put(at + 90_000, b"%bDISCONNECT %b\n" % (tls, peer))
        if draw() < self.mix.blocked:
            sender, to = self.one_of(self.people.remote), self.one_of(self.people.local)
            at = put(at, lines.BLOCKED % (start, peer, address, sender, to))
        if draw() < 0.95:
            at = put(at + 80_000, b"%bHANGUP after 0.%d from %b in tests after SMTP handshake\n"
                     % (start, 1 + int(draw() * 9), peer))
        put(at, b"%bDISCONNECT %b\n" % (start, peer))

    def empty(self, at: int) -> None:
        """A connection that brings no message: a monitor, a guesser of passwords, a refused sender."""
        draw, put = self.draw, self.put
        host = self.host(0.5)
        client = self.one_of(self.people.clients)
        start = b"%b postfix/smtpd[%d]: " % (host, 20_000 + int(draw() * 40))
        at = put(at, b"%bconnect from %b\n" % (start, client))
        what, mix = draw(), self.mix
        if what > 0.97:
            put(at, b"%bwarning: hostname gone.example.net does not resolve to address 192.0.2.9\n" % start)
        elif what < 0.1:
            at = put(at + 20_000, b"%blost connection after %b from %b\n"
                     % (start, b"EHLO" if draw() < 0.9 else b"CONNECT", client))
        elif what < 0.1 + mix.guessed:
            at = put(at + 900_000, b"%bwarning: %b: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n"
                     % (start, client))
        elif what < 0.1 + mix.guessed + mix.rejected:
            to = self.one_of(self.people.local)
            reply = lines.REFUSALS[int(draw() * len(lines.REFUSALS))] % to
            at = put(at, b"%bNOQUEUE: reject: RCPT from %b: %b; from=<%b> to=<%b> proto=ESMTP helo=<%b>\n" % (
                start, client, reply, self.one_of(self.people.remote), to, client.partition(b"[")[0]))
        put(at, b"%bdisconnect from %b ehlo=1 quit=1 commands=2\n" % (start, client))

    def statistics(self, at: int) -> None:
        """anvil's and sometimes scache's own counters."""
        host = self.host(0.7)
        when = datetime.fromtimestamp(self.now, UTC).strftime("%b %e %H:%M:%S").encode()
        peer = self.one_of(self.people.clients).partition(b"[")[2][:-1]
        start = b"%b postfix/anvil[700]: statistics: max " % host
        number = 1 + self.now % 7
        at = self.put(at, b"%bconnection rate %d/60s for (smtpd:%b) at %b\n" % (start, number, peer, when))
        at = self.put(at, b"%bconnection count %d for (smtpd:%b) at %b\n" % (start, number, peer, when))
        at = self.put(at, b"%bcache size %d at %b\n" % (start, 1 + self.now % 40, when))
        if self.draw() < 0.12:
            for counted in (b"start interval " + when, b"domain lookup hits=3 miss=9 success=25%",
                            b"address lookup hits=0 miss=9 success=0%", b"max simultaneous domains=1"):
                at = self.put(at, b"%b postfix/scache[701]: statistics: %b\n" % (host, counted))


def write(out: BinaryIO, number: int, seed: int, mix: Mix = MIXES["public"]) -> None:
    """Write the first lines of the log of a seed."""
    left = number
    for batch in Log(seed, mix).run():
        out.write(b"".join(batch[:left]))
        left -= len(batch)
        if left <= 0:
            return


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Write a realistic Postfix log to standard output.")
    arguments.add_argument("--lines", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--mix", choices=MIXES, default="public", help="the kind of mail host")
    arguments.add_argument("--headers", choices=HEADERS, default="some", help="of which messages they are logged")
    given = arguments.parse_args()
    write(sys.stdout.buffer, given.lines, given.seed, mixed(given.mix, given.headers))
