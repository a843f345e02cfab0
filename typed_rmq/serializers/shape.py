"""What a type's payloads can look like, read once from Pydantic's core schema.

The hot paths pay only for the checks that a type can need. A model of ints and strings cannot
hold a NaN, a set, or deep nesting, so nothing looks for them. The rules:

* A kind of schema that is not listed here counts as "anything": every check is made.
* What decides is how a value is written, so a custom serializer counts by its return type,
  and as "anything" where it has none.
* Only the branch that reads and writes JSON is followed (``json-or-python``: the JSON one,
  ``lax-or-strict``: the strict one, as Pydantic's own serializers do).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from ..errors import ConfigError

__all__ = ["MAX_DEPTH", "Shape", "shape_of"]

MAX_DEPTH = 100
"""The deepest nesting of arrays and objects that a payload may have."""

_PLAIN = frozenset(
    "none bool int str bytes date time datetime timedelta uuid url multi-host-url literal enum "
    "missing-sentinel nullable union tagged-union definitions default lax-or-strict "
    "json-or-python chain model-field typed-dict-field dataclass-field named-tuple-field "
    "custom-error float decimal complex fraction computed-field".split()
)
_NESTING = frozenset(
    "list deque tuple named-tuple model-fields dataclass-args typed-dict "
    "set frozenset dict frozendict ordered-dict counter".split()
)
_MAPS = frozenset(("dict", "frozendict", "ordered-dict", "counter"))
_RECORDS = frozenset(("model", "dataclass", "typed-dict"))
_FUNCTIONS = frozenset(("function-before", "function-after", "function-wrap"))
_NOT_CHILDREN = frozenset(
    "metadata config default serialization expected members discriminator computed_fields cls "
    "function ref schema_ref validation_alias serialization_alias lax_schema python_schema "
    "definitions custom_error_context".split()
)


@dataclass(slots=True)
class Shape:
    """What a walk over a schema found. Each flag says that something is *possible*.

    Attributes:
        aliased: a field has an alias; then names are stored, as aliases need not read back.
        anything: ``Any``, or something that this module does not know.
        deep: nesting over ``MAX_DEPTH``.
        forbids: a TypedDict that refuses unknown keys (which its serializer drops silently).
        floats: a float, Decimal, or complex number.
        lenient: null may be accepted where a NaN became null.
        inf_nan: NaN and infinities are written as something else than null.
        unordered: sets, whose order means nothing.
        sortable: objects whose keys may come in any order.
        nested: records (models, dataclasses, TypedDicts) inside of records or containers.
        records: the classes of the others: what a payload itself may be an instance of.
        names: names of fields and types: what an error may show.
    """

    aliased: bool = False
    anything: bool = False
    deep: bool = False
    forbids: bool = False
    floats: bool = False
    lenient: bool = False
    inf_nan: bool = False
    unordered: bool = False
    sortable: bool = False
    nested: bool = False
    records: set[type[object]] = field(default_factory=set[type[object]])
    names: set[str] = field(default_factory=set[str])

    @property
    def may_hide_nan(self) -> bool:
        """Whether a NaN could get through validation as null or as text."""
        return self.anything or (self.floats and self.lenient) or self.inf_nan

    @property
    def nan_is_null(self) -> bool:
        """Whether a hidden NaN can only be a ``null`` in the JSON."""
        return not (self.anything or self.inf_nan)


def shape_of(adapter: TypeAdapter[object]) -> Shape:
    """Reads the schema of an adapter.

    Raises:
        ConfigError: the type cannot be built (an unknown forward reference), or cannot be
            stored without loss (a generator, a ``SecretStr`` without a serializer of its own).
    """
    try:
        adapter.rebuild()
        schema = cast("Mapping[str, object]", adapter.core_schema)
    except (PydanticUserError, NameError, SchemaError) as error:
        raise ConfigError(f"the queue's type cannot be used: {error}") from error
    walk = _Walk()
    depth = walk.visit(schema, (), top=True)
    shape = walk.shape
    shape.deep = shape.deep or shape.anything or depth > MAX_DEPTH
    return shape


class _Walk:
    def __init__(self) -> None:
        self.shape = Shape()
        self.definitions: dict[str, Mapping[str, object]] = {}
        self.depths: dict[str, int] = {}
        self.records = 0

    def visit(
        self, node: Mapping[str, object], open_refs: tuple[str, ...], *, top: bool = False
    ) -> int:
        """Notes what ``node`` allows and returns how deep its JSON can nest."""
        kind = node["type"]
        for definition in cast("list[Mapping[str, object]]", node.get("definitions", [])):
            self.definitions[str(definition["ref"])] = definition
        if kind == "definition-ref":
            return self._reference(str(node["schema_ref"]), open_refs, top=top)
        custom = node.get("serialization")
        if isinstance(custom, Mapping) and self._custom(cast("Mapping[str, object]", custom)):
            returns = cast("Mapping[str, Mapping[str, object]]", custom).get("return_schema")
            return 0 if returns is None else self.visit(returns, open_refs)
        self._note(node, str(kind))
        if kind in _RECORDS:
            self._note_record(node, top=top)
        top = top and kind not in _NESTING | _RECORDS
        records = self.records
        deepest = 0
        for child in _children(node):
            deepest = max(deepest, self.visit(child, open_refs, top=top))
        if kind in _FUNCTIONS:
            # A validator may give None a value, and may hand back its record in another order.
            self.shape.lenient = True
            self.shape.sortable = self.shape.sortable or self.records > records
        return deepest + (kind in _NESTING)

    def _reference(self, ref: str, open_refs: tuple[str, ...], *, top: bool) -> int:
        # What has a reference is nearly always a record.
        self.records += 1
        self.shape.nested = self.shape.nested or not top
        if ref in open_refs:
            self.shape.deep = True
            return 0
        if ref not in self.depths:
            target = self.definitions.get(ref)
            if target is None:  # not a schema that Pydantic hands out
                self.shape.anything = True
                return 0
            self.depths[ref] = self.visit(target, (*open_refs, ref), top=top)
        return self.depths[ref]

    def _custom(self, custom: Mapping[str, object]) -> bool:
        """Notes a custom serializer; False where it does not replace the schema's own."""
        kind = str(custom.get("type"))
        if kind.startswith("include-exclude"):
            return False
        if kind in ("to-string", "format"):
            return True
        function = custom.get("function")
        module = getattr(function, "__module__", None)
        if module == "pydantic.types" and "_serialize_secret" in getattr(function, "__name__", ""):
            raise ConfigError(
                "a SecretStr, SecretBytes, or Secret would be stored as asterisks and lost: give "
                "the field a serializer that reveals it, and consider Encrypted(Json(), keys)"
            )
        if "return_schema" not in custom:
            self.shape.anything = True
        return True

    def _note(self, node: Mapping[str, object], kind: str) -> None:
        shape = self.shape
        if kind == "generator":
            raise ConfigError(
                "a generator or Iterable can be read only once and cannot be a payload: "
                "use list or tuple"
            )
        if kind not in _PLAIN | _NESTING | _FUNCTIONS | _RECORDS:
            shape.anything = True
        if kind in ("set", "frozenset"):
            shape.unordered = True
        if kind in _MAPS:
            shape.sortable = True
            if "keys_schema" not in node or (kind != "counter" and "values_schema" not in node):
                shape.anything = True
        if kind in ("list", "deque", "tuple", "set", "frozenset") and "items_schema" not in node:
            shape.anything = True
        self._note_numbers(node, kind)
        self._note_fields(node, kind)

    def _note_record(self, node: Mapping[str, object], *, top: bool) -> None:
        self.records += 1
        cls = cast("type[object]", node.get("cls", dict))
        self.shape.names.add(cls.__name__)
        if top:
            self.shape.records.add(dict if node["type"] == "typed-dict" else cls)
        else:
            self.shape.nested = True

    def _note_numbers(self, node: Mapping[str, object], kind: str) -> None:
        shape = self.shape
        if kind in ("float", "decimal", "complex"):
            shape.floats = True
            if kind == "complex" or (kind == "decimal" and node.get("allow_inf_nan")):
                shape.inf_nan = True
        elif kind in ("enum", "literal"):
            values = cast("list[object]", node.get("members", node.get("expected", [])))
            for value in values:
                plain: object = getattr(value, "value", value)
                if plain is None:
                    shape.lenient = True
                elif not isinstance(plain, int | str):
                    shape.anything = True
        elif kind in ("nullable", "none") or node.get("on_error") in ("default", "omit"):
            shape.lenient = True

    def _note_fields(self, node: Mapping[str, object], kind: str) -> None:
        shape = self.shape
        config = node.get("config")
        settings: Mapping[str, object] = {}
        if isinstance(config, Mapping):
            settings = cast("Mapping[str, object]", config)
        if settings.get("ser_json_inf_nan", "null") != "null":
            shape.inf_nan = True
        extra = node.get("extra_behavior", settings.get("extra_fields_behavior"))
        if extra == "allow":
            shape.anything = True
        if extra == "forbid" and kind == "typed-dict":
            shape.forbids = True
        if node.get("custom_init") or node.get("post_init"):
            shape.sortable = True
        if "validation_alias" in node or "serialization_alias" in node:
            shape.aliased = True
        fields = node.get("fields")
        if isinstance(fields, Mapping):
            shape.names.update(cast("Mapping[str, object]", fields))
        elif kind in ("dataclass-field", "named-tuple-field"):
            shape.names.add(str(node["name"]))
        if kind == "tagged-union":
            shape.names.update(map(str, cast("Mapping[object, object]", node["choices"])))
        if kind in ("int", "str", "float", "bool", "none", "bytes", "decimal", "datetime"):
            shape.names.add(kind)


def _children(node: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    for key, value in node.items():
        if key not in _NOT_CHILDREN:
            yield from _schemas(value)


def _schemas(value: object) -> Iterator[Mapping[str, object]]:
    """The schemas in a child: a schema, a list of them, a mapping of them, (schema, label)."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[object, object]", value)
        if isinstance(mapping.get("type"), str):
            yield cast("Mapping[str, object]", mapping)
        else:
            for item in mapping.values():
                yield from _schemas(item)
    elif isinstance(value, list | tuple):
        for item in cast("list[object]", value):
            yield from _schemas(item)
