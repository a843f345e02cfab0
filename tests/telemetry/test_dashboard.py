"""Every query of the Grafana dashboard and of the documentation finds what is exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.pages import ROOT, blocks
from typed_rmq import Queue, Retry
from typed_rmq.prometheus import __main__ as exporter
from typed_rmq.prometheus import instrument, make_collector

pytestmark = pytest.mark.servers("valkey")

DASHBOARD = ROOT / "typed_rmq" / "prometheus" / "grafana.json"
QUEUE = "shown"


def queries() -> list[str]:
    return [
        target["expr"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
    ]


def documented() -> list[str]:
    page = (ROOT / "docs" / "observability.md").read_text()
    return [
        line
        for block in blocks(page)
        if block.language == "promql"
        for line in block.code.splitlines()
        if line and not line.startswith("#")
    ]


def selectors(query: str) -> list[Any]:
    """The selectors of a query; a query that Prometheus could not parse raises."""
    filled = query.replace("$__rate_interval", "5m").replace("$queue", QUEUE)
    assert "$" not in filled, query
    found: list[Any] = []

    def note(part: Any) -> None:
        if isinstance(part, promql_parser.VectorSelector):
            found.append(part)
        elif isinstance(part, promql_parser.MatrixSelector):
            found.append(part.vector_selector)

    promql_parser.walk(promql_parser.parse(filled), note)
    return found


@pytest.fixture
def exported(redis_url: str, client: Any) -> Iterator[dict[str, list[dict[str, str]]]]:
    """Sample -> its labels, after every kind of thing has happened to a queue."""
    registry = CollectorRegistry()
    with Queue[int](QUEUE, redis_url, retry=Retry(max_attempts=1)) as queue:
        registry.register(make_collector([queue]))
        instrument(queue, registry=registry)
        queue.publish_many([1, 2, 3])
        queue.run(lambda number: 1 // (number - 1), until_empty=True)
        found: dict[str, list[dict[str, str]]] = {}
        for family in text_string_to_metric_families(generate_latest(registry).decode()):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.labels)
        yield found
        queue.dead.purge()
    for key in client.scan_iter(f"trmq:{{{QUEUE}}}:*"):
        client.delete(key)


def matches(labels: dict[str, str], selector: Any) -> bool:
    for matcher in selector.matchers.matchers:
        value = labels.get(matcher.name)
        wanted = matcher.value.split("|") if "Re" in str(matcher.op) else [matcher.value]
        if value not in wanted:
            return False
    return True


def test_every_query_finds_what_is_exported(exported: dict[str, list[dict[str, str]]]) -> None:
    asked = [*queries(), *documented()]
    assert len(queries()) > 20
    assert documented()
    for query in asked:
        found = selectors(query)
        assert found, query
        for selector in found:
            assert selector.name in exported, query
            assert any(matches(labels, selector) for labels in exported[selector.name]), query


def test_every_state_that_a_query_names_is_one(exported: dict[str, list[dict[str, str]]]) -> None:
    states = {labels["state"] for labels in exported["typed_rmq_messages"]}
    for query in [*queries(), *documented()]:
        for selector in selectors(query):
            for matcher in selector.matchers.matchers:
                if matcher.name == "state":
                    assert set(matcher.value.split("|")) <= states, query


def test_every_metric_is_on_the_dashboard(exported: dict[str, list[dict[str, str]]]) -> None:
    shown = {selector.name for query in queries() for selector in selectors(query)}
    for suffix in ("_created", "_sum", "_count", "_bucket"):
        exported = {name: seen for name, seen in exported.items() if not name.endswith(suffix)}
    assert set(exported) <= shown


def test_labels_that_queries_group_by_are_exported(
    exported: dict[str, list[dict[str, str]]],
) -> None:
    for query in queries():
        labels = {label for one in selectors(query) for label in exported[one.name][0]}

        def check(part: Any, labels: set[str] = labels, query: str = query) -> None:
            if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
                assert set(part.modifier.labels) <= labels, query

        promql_parser.walk(promql_parser.parse(query.replace("$__rate_interval", "5m")), check)


def test_the_dashboard_is_one() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert {"uid", "title", "schemaVersion", "panels", "templating"} <= dashboard.keys()
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, f"{panel['title']} lies on another panel"
        taken |= cells
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert variables["queue"]["definition"] == "label_values(typed_rmq_up, queue)"
    assert variables["datasource"]["query"] == "prometheus"


def test_the_exporter_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert exporter.main(["--dashboard"]) == 0
    assert capsys.readouterr().out == DASHBOARD.read_text()
