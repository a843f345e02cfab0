"""The AsyncAPI export: valid by the official schema, and true of what is stored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
import yaml
from pydantic import BaseModel, Field, computed_field
from typing_extensions import TypedDict

from typed_rmq import ConfigError, Queue
from typed_rmq.asyncapi import asyncapi, main, queues_of
from typed_rmq.testing import QueueFactory, RedisForTests

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "asyncapi-3.0.0.json").read_text("utf-8"))


class Item(BaseModel):
    """One line of an order."""

    sku: str = Field(alias="SKU", min_length=1)
    price: Decimal


class Order(BaseModel):
    order_id: int
    items: list[Item]
    at: datetime
    note: str | None = None
    where: tuple[float, float] = (0.0, 0.0)

    @computed_field
    @property
    def size(self) -> int:
        return len(self.items)


class Created(BaseModel):
    kind: Literal["created"]
    order: Order


class Deleted(BaseModel):
    kind: Literal["deleted"]
    order_id: UUID


@dataclass
class Point:
    x: int
    y: int = 0


class Row(TypedDict):
    name: str
    point: Point


class Tree(BaseModel):
    children: list[Tree] = []


Event = Annotated[Created | Deleted, Field(discriminator="kind")]


@pytest.fixture
def every(rmq_queue: QueueFactory) -> list[Queue[Any]]:
    """A queue of each kind of type."""
    return [
        rmq_queue(Order, "orders"),
        rmq_queue(Queue[Created | Deleted], "a:union"),
        rmq_queue(Queue[Event], "discriminated"),
        rmq_queue(Queue[list[Event]], "batches"),
        rmq_queue(Point, "points"),
        rmq_queue(Row, "rows"),
        rmq_queue(Tree, "trees"),
        rmq_queue(int, "numbers"),
        rmq_queue(Queue[int | None], "maybe"),
        rmq_queue(Queue[Literal["a", "b"]], "letters"),
        rmq_queue(Queue[Annotated[int, Field(ge=0)]], "sizes"),
        rmq_queue(Queue[dict[str, list[int]]], "tables"),
    ]


def faults(schema: Any, document: Any) -> list[str]:
    # Its import takes seconds where it can check formats: not for every run that collects tests.
    import jsonschema

    return [one.message for one in jsonschema.Draft7Validator(schema).iter_errors(document)]


def validate(document: dict[str, Any]) -> None:
    json.dumps(document)
    assert faults(SCHEMA, document) == []


def test_the_validator_is_not_blind(every: list[Queue[Any]]) -> None:
    document = asyncapi(every, title="Shop", version="1")
    for damage in ({"asyncapi": "2.0.0"}, {"info": {"title": "x"}}, {"channels": {"a": 1}}):
        assert faults(SCHEMA, {**document, **damage}) != []


def test_every_kind_of_type_gives_a_valid_document(every: list[Queue[Any]]) -> None:
    document: Any = asyncapi(every, title="Shop", version="1.2", description="It *sells*.")
    validate(document)
    assert document["info"] == {"title": "Shop", "version": "1.2", "description": "It *sells*."}
    assert list(document["channels"]) == [queue.name for queue in every]
    assert document["channels"]["orders"]["address"] == "orders"


def _resolved(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    found = document
    for name in reference[2:].split("/"):
        found = found[name]
    return found


def test_each_queue_sends_and_receives(every: list[Queue[Any]]) -> None:
    document: Any = asyncapi(every, title="Shop", version="1")
    validate(document)
    operations = document["operations"]
    assert set(operations) == {
        f"{action}-{queue.name}" for queue in every for action in ("send", "receive")
    }
    for name, operation in operations.items():
        action, _, queue = name.partition("-")
        assert operation["action"] == action
        assert _resolved(document, operation["channel"]["$ref"]) is document["channels"][queue]
        told = [_resolved(document, one["$ref"]) for one in operation["messages"]]
        assert told == list(document["channels"][queue]["messages"].values())
    for damage in ({"action": "publish"}, {"channel": {"$ref": 1}}):
        broken = {"send-orders": {**operations["send-orders"], **damage}}
        assert faults(SCHEMA, {**document, "operations": broken}) != []


@pytest.mark.parametrize(("role", "action"), [("sends", "send"), ("receives", "receive")])
def test_an_application_that_does_one_of_them(
    rmq_queue: QueueFactory, role: Literal["sends", "receives"], action: str
) -> None:
    document: Any = asyncapi([rmq_queue(int, "numbers")], title="T", version="1", role=role)
    validate(document)
    assert list(document["operations"]) == [f"{action}-numbers"]


def test_no_queue_at_all() -> None:
    validate(asyncapi([], title="Nothing", version="0"))


def test_a_union_has_a_message_for_each_member(every: list[Queue[Any]]) -> None:
    channels: Any = asyncapi(every, title="Shop", version="1")["channels"]
    for name in ("a:union", "discriminated"):
        assert list(channels[name]["messages"]) == ["Created", "Deleted"]
    assert list(channels["maybe"]["messages"]) == ["int", "NoneType"]
    assert channels["numbers"]["messages"]["int"]["payload"] == {"type": "integer"}
    (batch,) = channels["batches"]["messages"].values()
    assert batch["payload"]["items"]["discriminator"] == "kind"


def test_schemas_are_true_of_what_is_stored(
    rmq_redis: RedisForTests, rmq_queue: QueueFactory
) -> None:
    """What lies in Redis passes, with no field too many and none too few."""
    orders = rmq_queue(Order, "orders")
    item = Item(SKU="A", price=Decimal("1.50"))
    orders.publish(Order(order_id=1, items=[item], at=datetime(2026, 1, 1), where=(1, 2)))
    stored = json.loads(orders.peek()[0].raw)
    document: Any = asyncapi([orders], title="Shop", version="1")
    schema = {**document["components"]["schemas"]["Order"], "components": document["components"]}
    assert faults(schema, stored) == []
    assert set(stored) == set(schema["properties"])
    assert set(stored["items"][0]) == set(document["components"]["schemas"]["Item"]["properties"])
    stored["where"].append(3)
    assert faults(schema, stored) != []


def test_models_of_the_same_name_stay_apart(rmq_queue: QueueFactory) -> None:
    first = type("Same", (BaseModel,), {"__annotations__": {"a": int}, "__module__": "one"})
    second = type("Same", (BaseModel,), {"__annotations__": {"b": int}, "__module__": "two"})
    document: Any = asyncapi(
        [rmq_queue(first, "first"), rmq_queue(second, "second")], title="T", version="1"
    )
    validate(document)
    assert len(document["components"]["schemas"]) == 2


def test_two_queues_of_one_name(rmq_queue: QueueFactory) -> None:
    with pytest.raises(ConfigError, match="two queues are called 'x'"):
        asyncapi([rmq_queue(int, "x"), rmq_queue(str, "x")], title="T", version="1")


# --- the command


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "queues.py").write_text(
        "from typed_rmq import Queue\n"
        "numbers = Queue[int]('numbers')\n"
        "again = numbers\n"
        "names = Queue[str]('names')\n"
    )
    (tmp_path / "shop" / "broken.py").write_text("import not_there\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "shop"]:
        del sys.modules[name]


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "typed_rmq.asyncapi", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_command_without_any_redis(app: Path) -> None:
    done = command(app, "shop.queues")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    validate(document)
    assert document["info"] == {"title": "shop", "version": "1.0.0"}
    assert list(document["channels"]) == ["numbers", "names"]


def test_command_in_process(
    app: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(app)
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1")
    monkeypatch.setattr(sys, "path", list(sys.path))
    options = ["--title", "Shop", "--version", "2", "--description", "Sells", "--yaml"]
    assert main(["shop.queues:names", *options, "--role", "receives"]) == 0
    document = yaml.safe_load(capsys.readouterr().out)
    validate(document)
    assert list(document["operations"]) == ["receive-names"]
    assert list(document["channels"]) == ["names"]
    assert document["info"] == {"title": "Shop", "version": "2", "description": "Sells"}
    for wrong, why in {
        "shop.nothing": "no module",
        "shop.queues:nothing": "no Queue",
        "shop": "no Queue",
    }.items():
        assert main([wrong]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert why in told.err
        assert told.err.count("\n") == 1
    with pytest.raises(ModuleNotFoundError, match="not_there"):  # a fault of the application's
        queues_of("shop.broken")
