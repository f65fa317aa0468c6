"""Records: what the stubs write is the golden bytes, and flatc's readers find every field in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remora.shim.gen import facts, layout, schema, table
from tests.protocol import harness
from tests.protocol.generated.cases import CASES, Case

TABLE = table.load(facts.load())
LINES = {c.name: c for c in TABLE.wire}
IDS = [c.name for c in CASES]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_record_is_the_golden_one(case: Case, frames: list[list[str]]) -> None:
    printed = [f for f in frames if f[0] in ("post", "wait", "operation") and f[1] == str(case.id)]
    if not case.request and not LINES[case.name].is_cuda:
        assert not printed and case.request_bytes in ("", b"raw bytes".hex())
        return
    golden = bytes.fromhex(case.request_bytes)
    written = bytes.fromhex(printed[0][2])
    if not LINES[case.name].is_cuda:  # the runtime adds an operation's raw bytes by hand
        golden = golden[: len(written)]
    assert written == golden
    expected = {"post": "post", "call": "wait", "slow": "wait"}[case.mode]
    assert printed[0][0] == (expected if LINES[case.name].is_cuda else "operation")


@pytest.mark.parametrize(
    "case", [c for c in CASES if LINES[c.name].is_cuda and c.answer], ids=lambda c: c.name
)
def test_answers_reach_the_caller(case: Case, frames: list[list[str]]) -> None:
    out = {f[2]: bytes.fromhex(f[3]) for f in frames if f[0] == "out" and f[1] == str(case.id)}
    placed = {p.field.name: p for p in layout.place(LINES[case.name].answer)}
    golden = bytes.fromhex(case.answer_bytes)
    assert set(out) == set(case.answer)
    for name, value in out.items():
        assert value == golden[placed[name].offset :][: placed[name].field.bytes]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_flatbuffers_readers_read_what_was_written(
    case: Case, frames: list[list[str]], reader: Callable[[str], Any]
) -> None:
    written = [f[2] for f in frames if f[0] in ("post", "wait", "operation") and f[1] == str(case.id)]
    title = schema.title(case.name)
    for name, record, fields in (
        (f"{title}Request", written[0] if written else "", case.request),
        (f"{title}Answer", case.answer_bytes, case.answer),
    ):
        check_reader(reader(name), bytes.fromhex(record), fields)


def check_reader(reader: Any, record: bytes, fields: dict[str, Any]) -> None:
    if reader is None:
        assert not fields
        return
    view = reader()
    view.Init(bytearray(record), 0)
    for name, value in fields.items():
        method = getattr(view, schema.title(schema.snake(name)))
        if isinstance(value, list):
            assert [method(i) for i in range(len(value))] == value
        else:
            assert method() == value


@pytest.mark.parametrize("call", TABLE.wire + TABLE.structs, ids=lambda c: c.name)
def test_sizes_agree_with_flatbuffers(call: table.Call, reader: Callable[[str], Any]) -> None:
    names = (
        (f"{schema.title(call.name)}Piece",)
        if call.mode == "struct"
        else tuple(n for n, *_ in schema.messages(call))
    )
    for name, fields in zip(names, (call.request, call.answer), strict=False):
        size = layout.size(fields)
        assert size % 8 == 0
        assert (reader(name).SizeOf() if reader(name) else 0) == size


def test_every_byte_of_a_struct_is_named() -> None:
    for call in TABLE.wire + TABLE.structs:
        for fields in (call.request, call.answer):
            end = 0
            for p in layout.place(fields):
                assert p.offset == end and p.offset % p.field.alignment == 0
                end += p.field.bytes


def test_the_schema_has_the_channels_own_structs(tmp_path: Path, reader: Callable[[str], Any]) -> None:
    """transport/wire.h against the schema: every field at the same offset, every size the same."""
    checks = []
    for name, words in schema.FIXED.items():
        c_name = "rm_" + schema.snake(name)
        placed = layout.place(table.parse_fields(words)[0])
        checks += [f"offsetof({c_name}, {p.field.name}) == {p.offset}" for p in placed]
        checks.append(f"sizeof({c_name}) == {reader(name).SizeOf()}")
    asserts = "".join(f'_Static_assert({check}, "{check}");\n' for check in checks)
    source = tmp_path / "wire.c"
    source.write_text(f'#include <stddef.h>\n#include "transport/wire.h"\n{asserts}')
    harness.compile_c(tmp_path / "wire.o", source, options=["-c"])
