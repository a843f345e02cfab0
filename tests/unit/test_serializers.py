"""The formats and wrappers: what they write, what they read, and what they refuse."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tests.strategies import TEXT
from typed_rmq.errors import ConfigError, PayloadError
from typed_rmq.serializers import (
    Compressed,
    Encrypted,
    Json,
    MsgPack,
    Serializer,
    SerializerFactory,
    Wrapper,
    register,
    registry,
)
from typed_rmq.serializers.codec import Codec, Undecodable

T = TypeVar("T")
KEY, OLD = b"k" * 32, b"o" * 16


class Order(BaseModel):
    model_config = ConfigDict(strict=True)
    order_id: int = Field(alias="orderId")
    at: datetime
    amount: Decimal
    took: timedelta
    uid: UUID
    tags: dict[int, set[str]]
    blob: bytes


ORDER = Order(
    orderId=2**100,
    at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    amount=Decimal("0.10000000000000000000000000001"),
    took=timedelta(microseconds=1),
    uid=UUID(int=5),
    tags={2: {"b"}, 1: {"a"}},
    blob=b"text",
)


@pytest.fixture(autouse=True)
def clean_registry() -> Iterator[None]:
    known = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(known)


def make(serializer: Any, tp: Any = Order, **options: Any) -> Codec[Any]:
    return Codec(TypeAdapter(tp), serializer, queue="orders", **options)


def stored(codec: Codec[Any], payload: Any, message_id: bytes = b"id") -> bytes:
    return codec.seal(codec.prepare(payload)[1], message_id)


def chains() -> list[Any]:
    return [
        Json(),
        MsgPack(),
        Compressed(Json(), threshold=0),
        Compressed(MsgPack()),
        Encrypted(Json(), [KEY]),
        Encrypted(Compressed(MsgPack(), threshold=10), [KEY, OLD]),
    ]


@pytest.mark.parametrize("serializer", chains(), ids=repr)
def test_every_chain_gives_back_what_it_took(serializer: Any) -> None:
    codec = make(serializer)
    loaded, data = codec.prepare(ORDER)
    assert loaded == ORDER
    assert codec.open(codec.content_type, codec.seal(data, b"id"), b"id") == ORDER
    assert codec.content_type == serializer.content_type
    assert repr(serializer).count("Json()") + repr(serializer).count("MsgPack()") == 1


def test_content_types_name_every_step() -> None:
    assert [make(each).content_type for each in chains()] == [
        "application/json",
        "application/msgpack",
        "application/json+zstd",
        "application/msgpack+zstd",
        "application/json+aesgcm",
        "application/msgpack+zstd+aesgcm",
    ]


def test_the_shipped_ones_are_what_the_protocols_say() -> None:
    assert isinstance(Json(), SerializerFactory)
    assert isinstance(MsgPack(), SerializerFactory)
    assert isinstance(Json().bind(TypeAdapter(int)), Serializer)
    assert isinstance(MsgPack().bind(TypeAdapter(int)), Serializer)
    assert isinstance(Compressed(Json()), Wrapper)
    assert isinstance(Encrypted(Json(), [KEY]), Wrapper)


# -------------------------------------------------------------------- rollouts


@pytest.mark.parametrize("writer", chains(), ids=repr)
def test_a_consumer_reads_what_any_shipped_serializer_wrote(writer: Any) -> None:
    reader = make(Encrypted(Json(), [OLD, KEY], accept_plain=True))
    written = make(writer)
    assert reader.open(written.content_type, stored(written, ORDER), b"id") == ORDER


def test_compressed_messages_are_read_without_being_told() -> None:
    written = make(Compressed(MsgPack(), threshold=0))
    assert make(Json()).open("application/msgpack+zstd", stored(written, ORDER), b"id") == ORDER


def test_no_content_type_means_json_for_every_queue() -> None:
    data = stored(make(Json()), ORDER)
    for serializer in (Json(), MsgPack(), Compressed(MsgPack())):
        assert make(serializer).open(None, data, b"id") == ORDER
        assert make(serializer).loads(data) == ORDER


def test_an_encrypted_queue_refuses_plain_messages_unless_told() -> None:
    data = stored(make(Json()), ORDER)
    strict = make(Encrypted(Json(), [KEY]))
    for content_type in (None, "application/json", "application/json+zstd"):
        with pytest.raises(Undecodable, match="accept_plain=True"):
            strict.open(content_type, data, b"id")
    with pytest.raises(ValueError, match="not encrypted"):
        strict.loads(data)
    with pytest.raises(Undecodable, match="unknown here"):
        make(Json()).open("application/json+aesgcm", data, b"id")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "", "application/json+", "application/json+gzip", "json", "+zstd",
     "application/json" + "+zstd" * 5, "Application/JSON"],
)  # fmt: skip
def test_f26_unknown_content_types_are_undecodable(content_type: str) -> None:
    with pytest.raises(Undecodable, match="register"):
        make(Json()).open(content_type, b"{}", b"id")


# -------------------------------------------------------------------- MessagePack

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_f32_msgpack_keeps_every_value_exactly(value: Any) -> None:
    codec = make(MsgPack(), Any)
    loaded, data = codec.prepare(value)
    assert repr(loaded) == repr(value)
    assert repr(codec.open("application/msgpack", data, b"")) == repr(value)


def test_msgpack_is_what_others_read() -> None:
    assert msgpack.unpackb(make(MsgPack(), dict[str, Any]).prepare({"a": [1, 2.5, None]})[1]) == {
        "a": [1, 2.5, None]
    }
    # What only others write: a timestamp.
    data = msgpack.packb(msgpack.Timestamp(5, 0))
    assert make(MsgPack(), datetime).open("application/msgpack", data, b"") == datetime(
        1970, 1, 1, 0, 0, 5, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "value",
    [{"a": float("nan")}, [Decimal("Infinity")], {"\ud800": 1}, "\ud800", {"a": object()}],
)
def test_f30_f31_msgpack_refuses_what_json_refuses(value: Any) -> None:
    with pytest.raises(PayloadError):
        make(MsgPack(), Any).prepare(value)


def test_f29_msgpack_refuses_deep_nesting() -> None:
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    with pytest.raises(PayloadError, match="deeper than 100"):
        make(MsgPack(), Any).prepare(value)
    assert make(MsgPack(), Any).prepare(value[0])[0] == value[0]
    with pytest.raises(Undecodable):
        make(MsgPack(), Any).open("application/msgpack", b"\x91" * 100_000 + b"\x90", b"")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x93\x01", b"\x01\x01", msgpack.packb(msgpack.ExtType(1, b"x")),
     msgpack.packb(msgpack.ExtType(1, b"9" * 5000)), msgpack.packb(msgpack.ExtType(7, b"1")),
     b"\xdd\xff\xff\xff\xff", b"\xa2\xff\xfe"],
)  # fmt: skip
def test_f26_broken_msgpack_is_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        make(MsgPack(), int).open("application/msgpack", data, b"")
    assert caught.value.__context__ is None


# -------------------------------------------------------------------- Compressed


def test_small_and_incompressible_payloads_stay_as_they_are() -> None:
    squeeze = Compressed(Json(), threshold=100)
    assert squeeze.wrap(b"a" * 99, b"") == b"\x00" + b"a" * 99
    assert squeeze.wrap(b"a" * 100, b"")[:1] == b"\x01"
    noise = os.urandom(500)
    assert squeeze.wrap(noise, b"") == b"\x00" + noise
    for data in (b"", b"a" * 99, b"a" * 5000, noise):
        assert squeeze.unwrap(squeeze.wrap(data, b""), b"") == data


@pytest.mark.parametrize("size", [10_000, 300_000_000])
def test_f28_a_decompression_bomb_is_refused(size: int) -> None:
    bomb = b"\x01" + zstandard.ZstdCompressor().compress(b"0" * size)
    codec = make(Compressed(Json()), Any, max_payload=9_999 if size == 10_000 else 1_000_000)
    with pytest.raises(Undecodable, match=f"{size} bytes when unpacked"):
        codec.open("application/json+zstd", bomb, b"")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x02{}", b"\x01", b"\x01junk",
     b"\x01" + zstandard.ZstdCompressor().compress(b"a" * 5000)[:-3],
     b"\x01" + zstandard.ZstdCompressor().compress(b"a" * 5000) + b"x",
     b"\x01" + zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 5000)],
)  # fmt: skip
def test_f26_broken_compression_is_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable, match="compress") as caught:
        make(Compressed(Json()), Any).open("application/json+zstd", data, b"")
    assert caught.value.__context__ is None


def test_f28_sizes_are_checked_before_and_after_compression() -> None:
    codec = make(Compressed(Json(), threshold=0), str, max_payload=1000)
    with pytest.raises(PayloadError, match="1,002 bytes"):
        codec.prepare("a" * 1000)
    tight = make(Encrypted(Json(), [KEY]), str, max_payload=50)
    with pytest.raises(PayloadError, match="42 bytes, 75 as stored, and max_payload is 50"):
        stored(tight, "a" * 40)


def test_threads_do_not_share_a_compressor() -> None:
    squeeze = Compressed(Json(), threshold=0)
    wrong: list[bytes] = []

    def work(seed: int) -> None:
        data = bytes([seed]) * 50_000
        for _ in range(50):
            if squeeze.unwrap(squeeze.wrap(data, b""), b"") != data:
                wrong.append(data)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("options", [{"level": 0}, {"level": 20}, {"threshold": -1}])
def test_options_of_compressed_are_checked(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        Compressed(Json(), **options)


# -------------------------------------------------------------------- Encrypted


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old, both, new = (make(Encrypted(Json(), keys)) for keys in ([OLD], [KEY, OLD], [KEY]))
    assert both.open(old.content_type, stored(old, ORDER), b"id") == ORDER
    assert new.open(old.content_type, stored(both, ORDER), b"id") == ORDER
    with pytest.raises(Undecodable, match="key that this consumer does not have"):
        new.open(old.content_type, stored(old, ORDER), b"id")


@pytest.mark.parametrize("size", [16, 24, 32])
def test_all_sizes_of_keys_work(size: int) -> None:
    codec = make(Encrypted(Json(), [os.urandom(size)]), int)
    assert codec.open(codec.content_type, stored(codec, 5), b"id") == 5


def test_a_payload_is_bound_to_its_message_and_to_every_bit() -> None:
    codec = make(Encrypted(Json(), [KEY]), str)
    sealed = stored(codec, "hello")
    assert b"hello" not in sealed
    assert stored(codec, "hello") != sealed
    with pytest.raises(Undecodable, match="another message"):
        codec.open(codec.content_type, sealed, b"other")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(Undecodable) as caught:
            codec.open(codec.content_type, bytes(changed), b"id")
        assert caught.value.__context__ is None
    for length in range(len(sealed)):
        with pytest.raises(Undecodable):
            codec.open(codec.content_type, sealed[:length], b"id")


def test_keys_with_equal_ids_are_both_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typed_rmq.serializers.encrypted._key_id", lambda _key: b"same")
    old, both = make(Encrypted(Json(), [OLD])), make(Encrypted(Json(), [KEY, OLD]))
    assert both.open(old.content_type, stored(old, ORDER), b"id") == ORDER


@pytest.mark.parametrize("keys", [[], b"k" * 32, "k" * 32, [b"short"], ["k" * 32], [KEY, b""]])
def test_wrong_keys_are_refused(keys: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Encrypted(Json(), keys)
    assert "kkk" not in str(caught.value)
    assert "short" not in str(caught.value)


def test_f45_keys_are_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    wrapper = Encrypted(Compressed(Json()), [KEY, OLD])
    logging.getLogger("typed_rmq").warning("%r %s", wrapper, wrapper)
    assert "kkkk" not in caplog.text
    assert repr(wrapper) == (
        "Encrypted(Compressed(Json(), level=3, threshold=1024), keys=<2 keys>)"
    )
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(wrapper)
    with pytest.raises(TypeError, match="cannot be pickled"):
        copy.deepcopy(wrapper)


# -------------------------------------------------------------------- one's own


class Reversed:
    """A user's serializer, ready made; it gives plain data back."""

    content_type = "text/x-reversed"

    def dumps(self, payload: Any, /) -> bytes:
        return str(payload["n"]).encode()[::-1]

    def loads(self, data: bytes, /) -> Any:
        return {"n": int(data[::-1])}


class ReversedFactory:
    content_type = "text/x-reversed"

    def bind(self, adapter: TypeAdapter[T], /) -> Serializer[T]:
        return Reversed()


class Number(BaseModel):
    n: int

    def __getitem__(self, name: str) -> int:
        return self.n


class Shift:
    """A user's wrapper."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.content_type = inner.content_type + "+shift"

    def wrap(self, data: bytes, message_id: bytes, /) -> bytes:
        return bytes(byte ^ 1 for byte in data)

    def unwrap(self, data: bytes, message_id: bytes, /) -> bytes:
        if data == b"secret-words":
            raise ValueError("secret-words")
        return self.wrap(data, message_id)


@pytest.mark.parametrize("own", [Reversed(), ReversedFactory(), Shift(Compressed(Reversed()))])
def test_ones_own_serializer_gives_back_the_type(own: Any) -> None:
    codec = make(own, Number)
    loaded, data = codec.prepare(Number(n=123))
    assert loaded == Number(n=123)
    assert codec.open(codec.content_type, codec.seal(data, b""), b"") == Number(n=123)
    assert not codec.stable


def test_registered_serializers_are_read_by_every_queue() -> None:
    with pytest.raises(Undecodable, match="register"):
        make(Json(), Number).open("text/x-reversed", b"321", b"")
    register(ReversedFactory())
    register(ReversedFactory())
    assert make(Json(), Number).open("text/x-reversed", b"321", b"") == Number(n=123)
    assert make(Json(), Number).open("text/x-reversed+zstd", b"\x00321", b"") == Number(n=123)


def test_what_a_users_code_raises_is_not_shown() -> None:
    with pytest.raises(Undecodable, match=r"^reading it raised ValueError$"):
        make(Shift(Json())).open("application/json+shift", b"secret-words", b"")

    class Broken(Shift):
        def wrap(self, data: bytes, message_id: bytes, /) -> bytes:
            raise ValueError("secret-words")

    with pytest.raises(PayloadError, match=r"raised ValueError$") as caught:
        make(Broken(Json()), int).seal(b"1", b"")
    assert caught.value.__context__ is None


def test_wrong_factories_and_wrappers_are_refused() -> None:
    class Taken(ReversedFactory):
        content_type = "application/json"

    class Odd(ReversedFactory):
        content_type = "Text/Odd"

    for factory in (Taken(), Odd()):
        with pytest.raises(ConfigError, match="content type"):
            register(factory)
    unnamed = Shift(Json())
    unnamed.content_type = "application/json"
    doubled = Shift(Json())
    doubled.content_type = "application/json+a+b"
    for wrapper in (unnamed, doubled, Shift(Shift(Json()))):
        with pytest.raises(ConfigError):
            make(wrapper)


# -------------------------------------------------------------------- optional libraries


@pytest.mark.parametrize(
    ("module", "extra", "build"),
    [
        ("msgpack", "msgpack", lambda: MsgPack()),
        ("zstandard", "zstd", lambda: Compressed(Json())),
        ("cryptography.hazmat.primitives.ciphers.aead", "encryption",
         lambda: Encrypted(Json(), [KEY])),
    ],
)  # fmt: skip
def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str, build: Any
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'typed_rmq\[{extra}\]'"):
        build()


def test_a_message_in_a_format_that_is_not_installed_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry._registered.pop("application/msgpack", None)
    monkeypatch.setitem(sys.modules, "msgpack", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    for content_type, extra in (
        ("application/msgpack", "msgpack"),
        ("application/json+zstd", "zstd"),
    ):
        with pytest.raises(Undecodable, match=extra):
            make(Json()).open(content_type, b"\x01", b"")


def test_optional_libraries_are_not_imported_before_they_are_needed() -> None:
    program = (
        "import sys, redis\n"  # which has optional libraries of its own
        "before = set(sys.modules)\n"
        "import typed_rmq.serializers.codec, typed_rmq.dedup\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert not {'msgpack', 'zstandard', 'cryptography'} & new, new"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
