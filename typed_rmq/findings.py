"""What ``doctor`` and ``audit`` find, and the rules for what a server says of itself.

The rules are pure: they take what ``INFO`` answered, so that the same ones serve ``doctor()`` and
the warning at the first use of a connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Audit", "Finding", "Level", "about_server", "at_first_use", "read_info"]

Level = Literal["ok", "info", "warning", "error"]
"""How bad a finding is: as it should be, good to know, a risk, or already wrong."""

OLDEST: Final = (6, 2)
"""The oldest version of Redis that has all that the scripts use."""

HEADROOM: Final = 0.85
"""Part of ``maxmemory`` in use from which on it is told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that ``doctor`` or ``audit`` looked at.

    Attributes:
        level: ``"ok"``, ``"info"``, ``"warning"``, or ``"error"``.
        topic: what was looked at, in a word or two.
        what: what was found.
        advice: what to do about it; "" where nothing is to do.

    Example:
        >>> print(Finding("warning", "eviction", "the policy is allkeys-lru", "set noeviction"))
        warning: eviction: the policy is allkeys-lru: set noeviction
    """

    level: Level
    topic: str
    what: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f": {self.advice}" if self.advice else ""
        return f"{self.level}: {self.topic}: {self.what}{advice}"


@dataclass(frozen=True, slots=True)
class Audit:
    """What ``audit`` found in a queue.

    Attributes:
        findings: what is wrong, and what could not be checked; empty where all is well.
        messages: how many messages were looked at, dead letters and logged completions included.
        steps: in how many calls. One call sees the queue at one moment. More than one see a
            snapshot each, so that what can only be said of one moment is left out, and told.
    """

    findings: tuple[Finding, ...]
    messages: int
    steps: int

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong: no warning and no error."""
        return not any(finding.level in ("warning", "error") for finding in self.findings)


def read_info(text: bytes) -> dict[str, str]:
    """``INFO`` as names and values."""
    pairs = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in pairs if colon and not name.startswith("#")}


def at_first_use(info: Mapping[str, str]) -> list[Finding]:
    """What nobody should learn only after the loss: told at the first use of a connection."""
    found = [_version(info), _persistence(info), *_eviction(info)]
    return [one for one in found if one.level in ("warning", "error")]


def about_server(info: Mapping[str, str], config: Mapping[str, str]) -> list[Finding]:
    """All that a server's ``INFO`` tells; ``config`` is what ``CONFIG GET`` may have added."""
    return [
        _version(info),
        _persistence(info, config),
        *_writing(info),
        *_eviction(info),
        _headroom(info),
        *_replicas(info, config),
    ]


def _number(info: Mapping[str, str], name: str) -> int:
    try:
        return int(info.get(name, "0"))
    except ValueError:
        return 0


def _version(info: Mapping[str, str]) -> Finding:
    version = info.get("redis_version", "unknown")
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    try:
        old = tuple(int(part) for part in version.split(".")[:2]) < OLDEST
    except ValueError:
        return Finding("info", "version", f"the server calls its version {version!r:.50}")
    if old:
        return Finding(
            "error", "version", f"{name} is too old", "use Redis 6.2 or later, or Valkey"
        )
    return Finding("ok", "version", name)


def _persistence(info: Mapping[str, str], config: Mapping[str, str] | None = None) -> Finding:
    if "aof_enabled" not in info:
        return Finding("info", "persistence", "the server does not say whether it has an AOF")
    if info["aof_enabled"] != "1":
        return Finding(
            "warning",
            "persistence",
            "there is no append-only file: a crash of Redis loses what came after its last "
            "snapshot, and everything where it takes none",
            "set appendonly yes",
        )
    policy = (config or {}).get("appendfsync")
    if policy == "no":
        return Finding(
            "warning",
            "persistence",
            "the append-only file is written when the system likes (appendfsync no)",
            "set appendfsync everysec, or always",
        )
    return Finding(
        "ok", "persistence", f"append-only file, appendfsync {policy}" if policy else
        "append-only file",
    )  # fmt: skip


def _writing(info: Mapping[str, str]) -> list[Finding]:
    failed = [
        what
        for name, what in (
            ("aof_last_write_status", "the last write to the append-only file"),
            ("aof_last_bgrewrite_status", "the last rewrite of the append-only file"),
            ("rdb_last_bgsave_status", "the last snapshot"),
        )
        if info.get(name, "ok") != "ok"
    ]
    if not failed:
        return []
    return [
        Finding(
            "error",
            "disk",
            f"{' and '.join(failed)} failed",
            "look at the server's log and its free disk space; publishes may be refused (MISCONF)",
        )
    ]


def _eviction(info: Mapping[str, str]) -> list[Finding]:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return [Finding("ok", "eviction", "the policy is noeviction")]
    # Only lanes and dedup keys have an end: of messages such a policy deletes none.
    deletes = (
        "what deduplicates and what makes repeated calls safe"
        if policy.startswith("volatile")
        else "messages"
    )
    advice = "set maxmemory-policy noeviction"
    if _number(info, "maxmemory") == 0:
        return [
            Finding(
                "info",
                "eviction",
                f"the policy is {policy}; without maxmemory it deletes nothing, with one it would "
                f"delete {deletes}",
                advice,
            )
        ]
    return [
        Finding(
            "warning",
            "eviction",
            f"the policy is {policy}: when its memory is full, Redis deletes {deletes}",
            advice,
        )
    ]


def _headroom(info: Mapping[str, str]) -> Finding:
    limit, used = _number(info, "maxmemory"), _number(info, "used_memory")
    if limit == 0:
        total = _number(info, "total_system_memory")
        if total and used > HEADROOM * total:
            return Finding(
                "warning",
                "memory",
                f"Redis uses {used / total:.0%} of the machine's memory, and has no maxmemory",
                "set maxmemory, let consumers catch up, or take a larger machine",
            )
        return Finding(
            "info",
            "memory",
            f"{_size(used)} are used; there is no maxmemory",
            "set maxmemory, so that publishes are refused before the system ends Redis",
        )
    part = used / limit
    text = f"{_size(used)} of {_size(limit)} are used ({part:.0%})"
    if part >= HEADROOM:
        return Finding(
            "error" if part >= 1 else "warning",
            "memory",
            text,
            "let consumers catch up, purge, or raise maxmemory; at 100% publishes raise QueueFull",
        )
    return Finding("ok", "memory", text)


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"


def _replicas(info: Mapping[str, str], config: Mapping[str, str]) -> list[Finding]:
    role = info.get("role", "master")
    if role != "master":
        up = info.get("master_link_status") == "up"
        return [
            Finding(
                "error",
                "replication",
                f"this server is a replica{'' if up else ', and its link to the master is down'}",
                "connect to the master, best by Sentinel or a Cluster client",
            )
        ]
    count = _number(info, "connected_slaves")
    wanted = config.get("min-replicas-to-write", "0")
    if wanted.isdecimal() and int(wanted) > count:
        return [
            Finding(
                "error",
                "replication",
                f"{count} replicas are connected, and Redis takes no writes with fewer than "
                f"{wanted}",
                "bring the replicas back, or lower min-replicas-to-write",
            )
        ]
    late: list[str] = []
    for at in range(count):
        words = info.get(f"slave{at}", "").split(",")
        fields: dict[str, str] = {
            name: value for name, _, value in (word.partition("=") for word in words)
        }
        lag = fields.get("lag", "0")
        if fields.get("state") != "online" or (lag.lstrip("-").isdecimal() and int(lag) > 10):
            late.append(f"{fields.get('ip', '?')}:{fields.get('port', '?')}")
    if late:
        return [
            Finding(
                "warning",
                "replication",
                f"of {count} replicas these are behind or away: {', '.join(late)}",
                "look at their logs and the network",
            )
        ]
    if count == 0:
        return [
            Finding(
                "info",
                "replication",
                "no replica is connected: when this server is lost, so is its data",
                "add a replica, and publish with durability=Replicas(1), if that matters",
            )
        ]
    return [Finding("ok", "replication", f"{count} replicas are connected")]
