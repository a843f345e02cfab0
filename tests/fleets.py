"""Several servers that belong together: a Cluster, a master with a replica under Sentinel, TLS.

All of them die with the process that started them, as ``tests.servers`` says.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers import RunningServer, free_port, start

__all__ = ["Certificates", "Cluster", "Watched", "start_tls", "until"]

SLOTS = 16384


def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until the condition holds; an error of the connection counts as no."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
            if condition():
                return
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def _text(reply: object) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


# --------------------------------------------------------------------------- Cluster


def _node_port() -> int:
    """A free port whose bus, 10,000 above, is free as well and not given to clients."""
    while True:
        port = random.randrange(12_000, 22_000)
        with socket.socket() as one, socket.socket() as bus:
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


class Cluster:
    """Three masters, which share the slots, and ``replicas`` of the first one.

    Attributes:
        nodes: the servers; a node that was killed and started again keeps its place.
    """

    def __init__(self, kind: str, replicas: int = 1, spare: int = 0) -> None:
        self.kind = kind
        self._folder = Path(tempfile.mkdtemp(prefix=f"trmq-c-{kind}-"))
        self.nodes: list[RunningServer] = []
        try:
            for _ in range(3 + replicas + spare):
                self.nodes.append(self._start(len(self.nodes), _node_port()))
            self._join(replicas)
        except BaseException:
            self.stop()
            raise

    def _start(self, number: int, port: int) -> RunningServer:
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        return start(
            self.kind,
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000"),
            *("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"),
            *("--repl-backlog-size", "64mb"),
            # A master that gives its last slot away stays one; Redis 6.2 has no such choice.
            *(() if self.kind == "redis6" else ("--cluster-allow-replica-migration", "no")),
            port=port,
            folder=folder,
        )

    def _join(self, replicas: int) -> None:
        bounds = [SLOTS * n // 3 for n in range(4)]
        for number, node in enumerate(self.nodes):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < 3:
                node.command("CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
        for node in self.nodes[1:]:
            self.nodes[0].command("CLUSTER", "MEET", "127.0.0.1", node.port or 0)
        for node in self.nodes:
            until(lambda node=node: self._knows_all(node), "the nodes know each other")
        for replica in self.nodes[3 : 3 + replicas]:
            until(
                lambda r=replica: r.command("CLUSTER", "REPLICATE", self.id_of(self.nodes[0])),
                "a replica",
            )
        for node in self.nodes:
            until(lambda node=node: self._is_fine(node), "the cluster is well")
        self.settled()

    def _knows_all(self, node: RunningServer) -> bool:
        known = _text(node.command("CLUSTER", "NODES"))
        return known.count("connected") == len(self.nodes) and "handshake" not in known

    @staticmethod
    def _is_fine(node: RunningServer) -> bool:
        return "cluster_state:ok" in _text(node.command("CLUSTER", "INFO"))

    @staticmethod
    def id_of(node: RunningServer) -> str:
        return _text(node.command("CLUSTER", "MYID"))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Of all nodes."""
        return [("127.0.0.1", node.port or 0) for node in self.nodes]

    def slot(self, queue: str) -> int:
        return redis.crc.key_slot(queue.encode())

    def owner(self, queue: str) -> RunningServer:
        """The master that serves the queue's slot, by what it says of itself."""
        found: list[RunningServer] = []
        until(lambda: found.extend(self._owners(queue)) or found, f"a master for {queue}")
        return found[0]

    def _owners(self, queue: str) -> Iterator[RunningServer]:
        slot = redis.crc.key_slot(queue.encode())
        for node in self.nodes:
            with contextlib.suppress(redis.ConnectionError):
                for line in _text(node.command("CLUSTER", "NODES")).splitlines():
                    fields = line.split()
                    if "myself,master" in fields[2] and any(
                        int(first) <= slot <= int(last or first)
                        for first, _, last in (one.partition("-") for one in fields[8:])
                        if first.isdigit()
                    ):
                        yield node

    def replica_of(self, master: RunningServer) -> RunningServer:
        """A replica that is up to date."""
        wanted = self.id_of(master)
        found: list[RunningServer] = []

        def look() -> bool:
            for node in self.nodes:
                with contextlib.suppress(redis.ConnectionError):
                    (line,) = [
                        line
                        for line in _text(node.command("CLUSTER", "NODES")).splitlines()
                        if "myself" in line
                    ]
                    info = node.command("INFO", "replication")
                    assert isinstance(info, dict)
                    if line.split()[3] == wanted and info.get("master_link_status") == "up":
                        found.append(node)
                        return True
            return False

        until(look, "a replica that is up to date")
        return found[0]

    def follows(self, replica: RunningServer, master: RunningServer) -> bool:
        info = replica.command("INFO", "replication")
        assert isinstance(info, dict)
        return info["role"] == "slave" and int(info["master_port"]) == master.port

    def spare(self) -> RunningServer:
        """A master without a slot."""
        for node in self.nodes:
            with contextlib.suppress(redis.ConnectionError):
                lines = _text(node.command("CLUSTER", "NODES")).splitlines()
                mine = next(line.split() for line in lines if "myself" in line)
                if "master" in mine[2] and len(mine) == 8:
                    return node
        raise AssertionError("every master has a slot")

    def another(self, owner: RunningServer) -> RunningServer:
        """A master that has slots, and is not this one."""
        names = (f"q{number}" for number in range(10_000))
        return next(one for one in map(self.owner, names) if one is not owner)

    def settled(self) -> None:
        """Wait until every replica follows its master, and nobody counts as failed."""

        def fine() -> bool:
            for node in self.nodes:
                seen = _text(node.command("CLUSTER", "NODES"))
                if "fail" in seen or not self._is_fine(node):
                    return False
                info = node.command("INFO", "replication")
                assert isinstance(info, dict)
                if info["role"] == "slave" and info["master_link_status"] != "up":
                    return False
            return True

        until(fine, "all nodes are well")

    def restart(self, node: RunningServer) -> RunningServer:
        """Start a killed node again: it finds its place by itself."""
        node.stop()
        number = self.nodes.index(node)
        assert node.port is not None
        self.nodes[number] = self._start(number, node.port)
        self.settled()
        return self.nodes[number]

    # --- moving a slot

    def begin_move(self, slot: int, source: RunningServer, target: RunningServer) -> None:
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))

    def move_keys(self, slot: int, source: RunningServer, target: RunningServer) -> int:
        """All keys of the slot, a few at a time; returns how many."""
        moved = 0
        while True:
            keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, 3)
            assert isinstance(keys, list)
            if not keys:
                return moved
            moved += len(keys)
            source.command("MIGRATE", "127.0.0.1", target.port or 0, "", 0, 5000, "KEYS", *keys)

    def end_move(self, slot: int, source: RunningServer, target: RunningServer) -> None:
        """The target first, or both would refuse the slot for a while."""
        there = self.id_of(target)
        for node in (target, source, *self.nodes):
            info = node.command("INFO", "replication")
            assert isinstance(info, dict)
            if info["role"] == "master":
                node.command("CLUSTER", "SETSLOT", slot, "NODE", there)

    def move(self, slot: int, source: RunningServer, target: RunningServer) -> None:
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_move(slot, source, target)

    def keys(self) -> set[str]:
        """Every key of every master."""
        found: set[str] = set()
        for node in self.nodes:
            found |= node.keys()
        return found

    def flush(self) -> None:
        for node in self.nodes:
            with contextlib.suppress(redis.ResponseError):  # a replica
                node.command("FLUSHALL")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


# --------------------------------------------------------------------------- Sentinel


class Watched:
    """A master, a replica, and ``sentinels`` that watch them as ``service``."""

    service = "orders"

    def __init__(self, kind: str, sentinels: int = 1) -> None:
        self.kind = kind
        self._folder = Path(tempfile.mkdtemp(prefix=f"trmq-s-{kind}-"))
        self.servers: list[RunningServer] = []
        self.sentinels: list[RunningServer] = []
        try:
            for number in range(2):
                self.servers.append(self._start(number, free_port()))
            master, replica = self.servers
            replica.command("REPLICAOF", "127.0.0.1", master.port or 0)
            until(lambda: self.link_is_up(replica), "the replica follows")
            for number in range(sentinels):
                self.sentinels.append(self._sentinel(f"s{number}", master, sentinels))
            until(self.settled, "the sentinels know all")
        except BaseException:
            self.stop()
            raise

    def _start(self, number: int, port: int) -> RunningServer:
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        return start(
            self.kind,
            *("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"),
            *("--repl-backlog-size", "64mb"),
            port=port,
            folder=folder,
        )

    def _sentinel(self, name: str, master: RunningServer, sentinels: int) -> RunningServer:
        folder = self._folder / name
        folder.mkdir()
        config = folder / "sentinel.conf"
        lines = [
            f"sentinel monitor {self.service} 127.0.0.1 {master.port} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {self.service} 700",
            f"sentinel failover-timeout {self.service} 5000",
            f"sentinel parallel-syncs {self.service} 1",
        ]
        config.write_text("\n".join(lines) + "\n")
        return start(self.kind, "--sentinel", port=free_port(), folder=folder, config=config)

    @staticmethod
    def link_is_up(replica: RunningServer) -> bool:
        info = replica.command("INFO", "replication")
        assert isinstance(info, dict)
        return info.get("master_link_status") == "up"

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Of the sentinels."""
        return [("127.0.0.1", sentinel.port or 0) for sentinel in self.sentinels]

    @property
    def master(self) -> RunningServer:
        """Who is the master, by what the first sentinel says."""
        reply = self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        assert isinstance(reply, list | tuple)
        port = int(reply[1])
        return next(server for server in self.servers if server.port == port)

    @property
    def replica(self) -> RunningServer:
        return next(server for server in self.servers if server is not self.master)

    def settled(self) -> bool:
        """Whether all sentinels agree on the master, and its replica follows."""
        for sentinel in self.sentinels:
            (state,) = self._ask(sentinel, "MASTERS")
            replicas = self._ask(sentinel, "REPLICAS", self.service)
            if state["flags"] != "master" or int(state["num-other-sentinels"]) != (
                len(self.sentinels) - 1
            ):
                return False
            if [replica["flags"] for replica in replicas] != ["slave"] or int(
                state["port"]
            ) != self.master.port:
                return False
        return self.link_is_up(self.replica)

    @staticmethod
    def _ask(sentinel: RunningServer, *args: str) -> list[dict[str, str]]:
        reply = sentinel.command("SENTINEL", *args)
        assert isinstance(reply, list | dict), reply
        each = list(reply.values()) if isinstance(reply, dict) else reply
        states: list[dict[str, str]] = []
        for one in each:  # redis-py reads some of them itself, and some not
            if isinstance(one, dict):
                states.append({_text(key): _text(value) for key, value in one.items()})
            else:
                flat = [_text(field) for field in one]
                states.append(dict(zip(flat[::2], flat[1::2], strict=True)))
        return states

    def restart(self, server: RunningServer) -> RunningServer:
        """Start a killed server again; the sentinels make it a replica."""
        server.stop()
        number = self.servers.index(server)
        assert server.port is not None
        self.servers[number] = self._start(number, server.port)
        until(self.settled, "the sentinels know all")
        return self.servers[number]

    def flush(self) -> None:
        self.master.command("FLUSHALL")

    def stop(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


# --------------------------------------------------------------------------- TLS


class Certificates:
    """A certificate authority of our own in ``folder``, and what it signed.

    ``server``, ``client``: signed. ``stranger``: a client's, signed by somebody else. ``old``: a
    client's that has run out. Each is a pair (certificate, key) of paths.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        key, ca = self._authority("typed_rmq tests")
        other_key, other = self._authority("somebody else")
        self.ca = self._write("ca.pem", ca.public_bytes(serialization.Encoding.PEM))
        self.server = self._signed("server", ca, key)
        self.client = self._signed("client", ca, key)
        self.old = self._signed("old", ca, key, days=-1)
        self.stranger = self._signed("stranger", other, other_key)

    def _write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    @staticmethod
    def _builder(
        name: str, issuer: x509.Name | None, public: ec.EllipticCurvePublicKey, days: int
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=3))
            .not_valid_after(now + dt.timedelta(days=days))
        )

    def _authority(self, name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            self._builder(name, None, public, 1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        return key, certificate

    def _signed(
        self, name: str, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, days: int = 1
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        names: Sequence[x509.GeneralName] = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        certificate = (
            self._builder(name, ca.subject, key.public_key(), days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(authority, critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return (
            self._write(f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM)),
            self._write(f"{name}.key", private),
        )


@contextlib.contextmanager
def start_tls(
    kind: str,
    certificates: Certificates,
    *options: str,
    client_certificates: bool = False,
    port: int | None = None,
    config: Path | None = None,
) -> Iterator[tuple[RunningServer, int]]:
    """A server with a plain port and a TLS port; gives both."""
    port = port or free_port()
    certificate, key = certificates.server
    with start(
        kind,
        *("--tls-port", str(port), "--tls-ca-cert-file", str(certificates.ca)),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
        *("--tls-auth-clients", "yes" if client_certificates else "no"),
        *options,
        tcp=True,
        config=config,
    ) as server:
        yield server, port
