"""How we are let in: peer authentication, TLS, passwords; and that a password is told to nobody."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sink.fault import CONFIG, OK
from sink.stores.postgres import check
from tests.integration.asking import Answer, ask, one_line, said
from tests.integration.conftest import free_port
from tests.integration.live.service import Service, eventually, listening
from tests.integration.postgres.driving import RESTLESS, mail, written
from tests.integration.postgres.server import Database, Server
from tests.judges.program import Program

PASSWORD = "canary-pass word'"
HBA = """\
local all postgres trust
local all keeper trust
local all drain peer map=fleet
local all guest scram-sha-256
hostssl all guest 127.0.0.1/32 scram-sha-256
"""


class Authority:
    """Signs certificates of servers."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.path = folder, folder / f"{name}.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._certificate(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.path.write_bytes(made)

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC).replace(tzinfo=None)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1)).add_extension(extension, critical=True)
        )  # fmt: skip
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def certify(self, data: Path) -> None:
        """Give a server its key and certificate, as localhost."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        (data / "server.crt").write_bytes(self._certificate(subject, key.public_key(), names))
        (data / "server.key").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))  # fmt: skip
        owner = data.stat()
        for name in ("server.crt", "server.key"):
            (data / name).chmod(0o600)
            os.chown(data / name, owner.st_uid, owner.st_gid)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "authority")


@pytest.fixture(scope="module")
def strict(folder: Path, authority: Authority) -> Iterator[Server]:
    """A server that lets in only whom it knows, on a socket and on loopback."""
    made = Server(folder, "strict").make()
    me = pwd.getpwuid(os.geteuid()).pw_name
    (made.data / "pg_hba.conf").write_text(HBA)
    (made.data / "pg_ident.conf").write_text(f"fleet {me} drain\n")
    authority.certify(made.data)
    made.port = free_port()
    made.configure(listen_addresses="127.0.0.1", ssl="on", log_connections="on")
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def closed(strict: Server, with_keys: Program, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Its database."""
    made = strict.make_database()
    program = made.serve(with_keys.sibling(tmp_path_factory.mktemp("pg") / "init"), admin="postgres")
    assert ask(program, "db", "init").status == OK
    secret = PASSWORD.replace("'", "''")
    strict.run(
        "CREATE USER drain IN ROLE postsink_writer", "CREATE USER keeper IN ROLE postsink_admin",
        f"CREATE USER guest PASSWORD '{secret}' IN ROLE postsink_writer",
    )  # fmt: skip
    return made


@pytest.fixture
def one_mail(tmp_path: Path) -> Path:
    return written(tmp_path / "mail.log", mail(datetime(2026, 11, 2, tzinfo=UTC)))


@pytest.fixture
def passfile(tmp_path: Path) -> Path:
    path = tmp_path / "pgpass"
    path.write_text(f"*:*:*:guest:{PASSWORD}\n")
    path.chmod(0o600)
    return path


Ask = Callable[..., Answer]


@pytest.fixture
def connect(program: Program, closed: Database, one_mail: Path) -> Ask:
    """Give a function that imports one mail by a conninfo; it says whether it arrived by its status."""

    def by(conninfo: str) -> Answer:
        set_database(program, conninfo)
        closed.run("TRUNCATE delivery")
        answer = ask(program, "import", one_mail)
        assert (answer.status == OK) == (closed.count() == 1), answer
        assert "canary" not in answer.err
        return answer

    return by


def set_database(program: Program, conninfo: str) -> None:
    known = yaml.safe_load(program.config.read_text())
    program.config.write_text(yaml.safe_dump({**known, "database": conninfo}))


def by_network(database: Database, more: str) -> str:
    return f"host=localhost port={database.server.port} dbname={database.name} user=guest {more}"


def test_peer(connect: Ask, closed: Database) -> None:
    """The system's user is the database's; no secret is anywhere."""
    assert connect(closed.conninfo("drain")).status == OK


def test_tls_with_a_passfile(connect: Ask, closed: Database, passfile: Path, authority: Authority) -> None:
    more = f"sslmode=verify-full sslrootcert={authority.path} passfile={passfile}"
    answer = connect(by_network(closed, more))
    assert answer.status == OK and "database" not in answer.err
    log = closed.server.log.read_text()
    assert "connection authorized: user=guest" in log and "SSL enabled (protocol=TLSv1.3" in log


def test_tls_with_a_wrong_certificate(
    connect: Ask, closed: Database, passfile: Path, authority: Authority, tmp_path: Path
) -> None:
    """Of another authority, of another host, or with nothing to hold it against: nothing is sent."""
    other = Authority(tmp_path, "other")
    for more, words in (
        (f"sslrootcert={other.path}", "its certificate is of another authority; correct sslrootcert="),
        (f"sslrootcert={tmp_path}/none", "the authority's certificate is not there; correct sslrootcert="),
        (f"sslrootcert={authority.path} hostaddr=127.0.0.1 host=mx.example.org", "its certificate is of another host"),
    ):
        one_line(connect(by_network(closed, f"sslmode=verify-full passfile={passfile} {more}")), CONFIG, words)


def test_who_is_not_let_in_is_told_why(connect: Ask, closed: Database, passfile: Path, tmp_path: Path) -> None:
    """By our words alone; what libpq says may hold a password."""
    wrong = tmp_path / "wrong"
    wrong.write_text("*:*:*:guest:canary-wrong\n")
    wrong.chmod(0o600)
    known = closed.conninfo("guest")
    for conninfo, words in (
        (f"{known} passfile={wrong}", "the password is wrong"),
        (f"{known} passfile={tmp_path}/none", "it asks for a password; name a passfile="),
        (closed.conninfo("nobody-knows"), "its pg_hba.conf does not let us in"),
        (closed.conninfo("drain").replace(closed.name, "canary"), "it has no such database"),
        (by_network(closed, "sslmode=disable"), "its pg_hba.conf does not let us in"),
    ):
        one_line(connect(conninfo), CONFIG, "the database refuses: ", words)
    one_line(connect(by_network(closed, "sslmode=canary")), CONFIG, "database: sslmode= is no word of libpq")


@pytest.mark.parametrize("form", ["{known} password='{escaped}'", "postgresql://guest:{quoted}@/{name}?host={socket}"])
def test_a_password_in_the_config(connect: Ask, program: Program, closed: Database, form: str) -> None:
    """It works, and each command says that it should not be there."""
    conninfo = form.format(
        known=closed.conninfo("guest"), escaped=PASSWORD.replace("'", "\\'"), name=closed.name,
        quoted="canary-pass%20word%27", socket=f"{quote(str(closed.server.socket), '')}&port={closed.server.port}",
    )  # fmt: skip
    answer = connect(conninfo)
    assert answer.status == OK
    assert "database: holds a password" in answer.words[0] and "passfile=" in answer.words[0]


@pytest.mark.parametrize(("conninfo", "number"), [
    ("host=db.example.org", 1), ("postgresql://db.example.org/mail?sslmode=require", 1), ("hostaddr=203.0.113.9", 1),
    ("host=/run/postgresql,db.example.org sslmode=prefer", 1), ("host=db.example.org sslmode=verify-full", 0),
    ("postgresql://db.example.org,db.example.net/mail?sslmode=verify-ca", 0), ("dbname=mail", 0),
    ("host=/run/postgresql", 0), ("host=localhost", 0), ("host=127.0.0.1", 0), ("host=::1", 0),
    ("postgresql:///mail?host=%2Frun%2Fpostgresql", 0),
])  # fmt: skip
def test_a_network_without_tls(conninfo: str, number: int) -> None:
    """Is warned of, unless it is this host."""
    found = check(conninfo)
    assert len(found) == number
    assert all("leads through a network; add sslmode=verify-full" in words for words in found)


def test_what_the_conninfo_says_counts(connect: Ask, closed: Database) -> None:
    """Our own settings of the connection are for what it leaves open."""
    assert connect(f"{closed.conninfo('drain')} application_name=mail-of-mx1 connect_timeout=3").status == OK
    assert "application_name=mail-of-mx1" in closed.server.log.read_text()


def test_a_passfile_that_is_a_credential(
    connect: Ask, closed: Database, passfile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd's look as if a group could read them, which libpq refuses."""
    passfile.chmod(0o440)
    conninfo = f"{closed.conninfo('guest')} passfile={passfile}"
    said(connect(conninfo), "it asks for a password; name a passfile=")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(passfile.parent))
    assert connect(conninfo).status == OK
    passfile.unlink()
    one_line(connect(conninfo), CONFIG, "the credential pgpass is not there")


@pytest.fixture
def at_home(with_keys: Program, home: Path) -> Program:
    return listening(with_keys.sibling(home / "live"))


@pytest.mark.parametrize("is_right", [True, False])
def test_a_password_is_told_to_nobody(at_home: Program, closed: Database, is_right: bool) -> None:
    """Not by the daemon's words, by /proc, by its status, or by what it writes."""
    secret = PASSWORD.replace("'", "\\'") if is_right else "canary-wrong"
    set_database(at_home, f"{closed.conninfo('guest')} password='{secret}'")
    with Service(at_home, bug=RESTLESS) as service:
        if is_right:
            eventually(lambda: closed.one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'guest'"))
        else:
            assert service.said.ever("the password is wrong; correct the passfile; rows wait in the store")
        assert service.status()["database"] == ("well" if is_right else "refused")
        known = b"".join(Path(f"/proc/{service.process.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        told = str(service.status())
        assert service.stop() == OK
        told += "\n".join(service.said.all)
    assert "database: holds a password" in told
    files = b"".join(path.read_bytes() for path in at_home.folder.glob("s.sqlite*"))
    assert "canary" not in told and b"canary" not in known + files
