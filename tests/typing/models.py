"""Payload types for the typing tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel
from typing_extensions import TypedDict

from typed_rmq import DedupKey


class Order(BaseModel):
    order_id: Annotated[int, DedupKey]
    sku: str


class Created(BaseModel):
    kind: Literal["created"] = "created"
    id: int


class Deleted(BaseModel):
    kind: Literal["deleted"] = "deleted"
    id: int


@dataclass
class Point:
    x: int
    y: int


class Row(TypedDict):
    name: str
