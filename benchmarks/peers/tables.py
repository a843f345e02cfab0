"""The results for people: tables for the documentation, and the charts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .environments import ROOT
from .plots import Bar, chart
from .results import Results, Summary
from .standing import RAW, standings

__all__ = ["BEGIN", "CHARTS", "DOCS", "END", "NOT_MEASURED", "charts", "lines", "markdown", "write"]

DOCS = ROOT / "docs" / "comparison.md"
CHARTS = ROOT / "docs" / "charts"
NOT_MEASURED = "A whole run has not been saved yet."
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _entries(results: Results, where: str, verb: str = "consume") -> list[str]:
    """Everyone who was measured, the fastest consumer first."""
    found = results.data["slices"].get(f"{where}/{verb}", {})
    rates = {name: s.rate for name in found if (s := results.summary(f"{where}/{verb}", name))}
    return sorted(rates, key=lambda name: -rates[name])


def _rate(found: Summary | None) -> str:
    if found is None:
        return "—"
    return f"{_number(found.rate)} ({_number(found.low)} to {_number(found.high)})"


def _promise(results: Results, name: str) -> str:
    about = results.data["about"][name]
    acks = {"each": "an ack each", "batch": "acks in batches", "none": "no acks"}[about["acks"]]
    extras = f"; {about['extras']}" if about["extras"] else ""
    return f"{about['delivery']}, {acks}{extras}"


def _table(head: str, rows: Iterable[Iterable[str]]) -> list[str]:
    columns = head.count("|") - 1
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return ["", head, "|" + "---|" * columns, *body]


def _throughput(results: Results, pinning: str) -> list[str]:
    where = f"{pinning}/order"
    rows = []
    for name in _entries(results, where):
        consume = f"{where}/consume"
        ratio = results.ratio(consume, name, f"{where}/publish", RAW)
        rates = [
            _rate(results.summary(f"{where}/{verb}", name))
            for verb in ("consume", "publish", "bulk")
        ]
        told = "—" if ratio is None else f"{_number(ratio)}x"
        handlers = str(results.data["about"][name]["handlers"])
        rows.append([name, _promise(results, name), handlers, rates[0], told, *rates[1:]])
    head = (
        "| System | What it promises | Handlers at a time | Consume /s | ÷ raw LPUSH "
        "| Publish /s | Bulk /s |"
    )
    return _table(head, rows) if rows else []


def _costs(results: Results) -> list[str]:
    rows = []
    for name in _entries(results, "cross/order"):
        row = [name]
        for verb in ("publish", "consume"):
            found = results.summary(f"cross/order/{verb}", name)
            if found is None:
                row += ["—"] * 3
                continue
            row += [_number(found.client), _number(found.server)]
            row.append(f"{_number(found.to_server)} + {_number(found.from_server)}")
        memory = results.data["memory"].get(name)
        rows.append([*row, "—" if memory is None else _number(memory)])
    head = (
        "| System | Publish: client µs | server µs | bytes to + from "
        "| Consume: client µs | server µs | bytes to + from | Memory, bytes a message |"
    )
    return _table(head, rows) if rows else []


def _latency(results: Results) -> list[str]:
    found = {name: results.latency(name) for name in results.data["latency"]}
    known = sorted(((v.p50, name, v) for name, v in found.items() if v), key=lambda item: item[0])
    rows = [[name, f"{v.p50:.2f}", f"{v.p99:.2f}", str(v.samples)] for _, name, v in known]
    return _table("| System | p50, ms | p99, ms | Samples |", rows) if rows else []


def _sizes(results: Results) -> list[str]:
    rows = []
    for name in _entries(results, "cross/1k"):
        cells = [
            _rate(results.summary(f"cross/{size}/{verb}", name))
            for size in ("1k", "64k")
            for verb in ("publish", "bulk", "consume")
        ]
        rows.append([name, *cells])
    head = (
        "| System | 1 KiB: publish /s | bulk /s | consume /s "
        "| 64 KiB: publish /s | bulk /s | consume /s |"
    )
    return _table(head, rows) if rows else []


def _setups(results: Results) -> list[str]:
    rows = []
    for name, about in sorted(results.data["about"].items()):
        versions = ", ".join(f"{package} {v}" for package, v in about["versions"].items())
        sources = [source for source in about["source"].split("; ") if source.startswith("http")]
        links = " ".join(f"[{number}]({url})" for number, url in enumerate(sources, 1))
        rows.append([name, about["about"], about["bulk"] or "no such call", versions, links])
    return _table("| System | Set up as | Bulk is | Versions | Documented |", rows)


def lines(results: Results) -> list[str]:
    """Where we stand, and what went wrong, for the terminal."""
    out = [""]
    for at in standings(results):
        sign = "≤" if at.at_most else "≥"
        verdict = "reached" if at.reached else "MISSED"
        out.append(
            f"  {at.what:38} {_number(at.value)} {at.unit} (goal {sign} {at.goal:g}) {verdict}"
            f"  {at.other}"
        )
    out += [f"  {name}: {text}" for name, text in _problems(results)]
    return out


def _problems(results: Results) -> list[tuple[str, str]]:
    problems = results.data["problems"]
    return [(name, text) for name in sorted(problems) for text in problems[name]]


def markdown(results: Results) -> str:
    """What stands between the marks of the page."""
    machine = ", ".join(f"{name} {fact}" for name, fact in results.data["machine"].items())
    out = [f"Measured on {results.data['date']}: {machine}."]
    if results.data["note"]:
        out += ["", f"**{results.data['note']}**"]
    out += ["", "### Consume"]
    out += ["", "![Messages consumed a second](charts/peers-consume.svg)"]
    out += _throughput(results, "cross")
    out += ["", "### Publish", "", "![Publish calls a second](charts/peers-publish.svg)"]
    out += ["", "![Messages a second by the bulk call](charts/peers-bulk.svg)"]
    out += ["", "### Idle wake-up", "", "![Idle wake-up](charts/peers-latency.svg)"]
    out += _latency(results)
    out += ["", "### What a message costs", *_costs(results)]
    out += ["", "### Server and client on one core", *_throughput(results, "same")]
    out += ["", "### Larger payloads", *_sizes(results)]
    out += ["", "### Where typed_rmq stands"]
    rows = [
        [
            at.what,
            f"{_number(at.value)} {at.unit}",
            f"{'≤' if at.at_most else '≥'} {at.goal:g}",
            "reached" if at.reached else "MISSED",
            at.other,
        ]
        for at in standings(results)
    ]
    out += _table("| What | Result | Goal | | Against |", rows)
    problems = _problems(results)
    out += ["", "### Runs that did not end as they should", ""]
    out += [f"- {name}: {text}" for name, text in problems] or ["None."]
    out += ["", "### How each was set up", *_setups(results)]
    return "\n".join(out) + "\n"


def _kind(results: Results, name: str) -> str:
    for own in ("typed_rmq", "redis-py"):
        if name.startswith(own):
            return own
    return str(results.data["about"][name]["delivery"])


def charts(results: Results) -> dict[str, str]:
    """File name -> SVG."""
    titles = {
        "consume": "Messages consumed a second, one process, handler does nothing",
        "publish": "Publish, one call a message, calls a second",
        "bulk": "Publish in bulk, messages a second",
    }
    out = {}
    for verb, title in titles.items():
        bars = []
        for name in _entries(results, "cross/order", verb):
            found = results.summary(f"cross/order/{verb}", name)
            if found:
                text = _number(found.rate)
                bars.append(
                    Bar(name, _kind(results, name), found.rate, found.low, found.high, text)
                )
        if bars:
            out[f"peers-{verb}.svg"] = chart(f"{title} (log scale)", bars)
    waits = []
    for name in results.data["latency"]:
        wait = results.latency(name)
        if wait:
            text = f"{wait.p50:.2f}, p99 {wait.p99:.1f}"
            waits.append(Bar(name, _kind(results, name), wait.p50, wait.p50, wait.p99, text))
    if waits:
        title = "Publish to an idle handler, ms: median, and p99 as the line (log scale)"
        out["peers-latency.svg"] = chart(title, waits, less_is_better=True)
    return out


def write(results: Results, page: Path, folder: Path) -> None:
    text = page.read_text("utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise SystemExit(f"{page.name} has no place for results: {BEGIN} ... {END}")
    page.write_text(f"{before}{BEGIN}\n\n{markdown(results)}\n{END}{after}", "utf-8")
    folder.mkdir(exist_ok=True)
    for name, svg in charts(results).items():
        (folder / name).write_text(svg, "utf-8")
