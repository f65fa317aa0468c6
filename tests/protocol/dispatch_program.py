"""Run in a process of its own whose libcuda.so.1 is the recorder: prints what went wrong.

Arguments: the folder of the package with the fake session, and which part to run."""

from __future__ import annotations

import ctypes
import os
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, sys.argv[1])
sys.path.append(os.environ["CASES"])
sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)

from cases import CASES, Case  # type: ignore[import-not-found]  # noqa: E402

from remora.engine import probe, session  # type: ignore[attr-defined]  # noqa: E402

BAD_RECORD, INVALID_VALUE, INVALID_HANDLE, NOT_SUPPORTED = -2, 1, 400, 801
driver = ctypes.CDLL("libcuda.so.1")
RECORDS = hasattr(driver, "recorded")
if RECORDS:
    driver.recorded.restype = ctypes.c_char_p


def record(case: Case, body: bytes, size: int | None = None) -> bytes:
    return struct.pack("<HHIIHH", case.id, 1, 16 + len(body) if size is None else size, 1, 1, 1) + body


def cuda_cases() -> Iterator[Case]:
    return (c for c in CASES if c.name.startswith("cu"))


def check(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        print(f"{what}: got {got!r}, wanted {wanted!r}")


def forget() -> None:
    session.forget()
    if RECORDS:
        driver.recorder_clear()


def seen() -> tuple[str, str]:
    return session.last(), driver.recorded().decode()


def golden() -> None:
    """Every record reaches its driver call or handler with its arguments, and the answer is the case's."""
    for case in CASES:
        forget()
        body = bytes.fromhex(case.request_bytes)
        status, answer = probe.run(record(case, body))
        check(f"{case.name} status", status, 0)
        if case.name.startswith("cu"):
            wanted = [case.name, *("-" if g is None else str(g) for g in case.given)]
            check(case.name, seen()[1], " ".join(wanted))
            check(f"{case.name} answer", answer.hex(), case.answer_bytes)
        else:
            check(case.name, session.last(), f"h_{case.name}")
            check(f"{case.name} answer size", len(answer), len(case.answer_bytes) // 2)


def sizes() -> None:
    """A record that is shorter or longer than its operation is refused, and nothing is called."""
    raw = {case.name: case.request_bytes.endswith(b"raw bytes".hex()) for case in CASES}
    for case in CASES:
        body = bytes.fromhex(case.request_bytes)
        fixed = len(body) - (9 if raw[case.name] else 0)
        wrong = [body[:n] for n in range(fixed)] + (
            [] if raw[case.name] else [body + b"\0", body + bytes(64)]
        )
        for bad in wrong:
            forget()
            check(f"{case.name} of {len(bad)} bytes", probe.run(record(case, bad))[0], BAD_RECORD)
            check(f"{case.name} of {len(bad)} bytes called", seen(), ("", ""))
        for size in (0, 1, 15):
            check(f"{case.name} size {size}", probe.run(record(case, body, size))[0], BAD_RECORD)


def unknown() -> None:
    """Numbers that no operation has are refused."""
    known = {case.id for case in CASES}
    for id in [i for i in range(max(known) + 40) if i not in known] + [0x7FFF, 0xFFFF]:
        fake = CASES[0]._replace(id=id)
        check(f"op {id}", probe.run(record(fake, bytes(64)))[0], BAD_RECORD)


def forged() -> None:
    """A handle that is not the client's is an invalid handle, and nothing is called."""
    count = 0
    for case in cuda_cases():
        for name, value in case.request.items():
            if name in (
                "hStream",
                "hEvent",
                "hStart",
                "hEnd",
                "func",
                "hfunc",
                "function",
                "dstContext",
                "srcContext",
            ):
                body = bytes.fromhex(case.request_bytes)
                bad = body.replace(value.to_bytes(8, "little"), session.FORGED.to_bytes(8, "little"), 1)
                forget()
                check(
                    f"{case.name} {name}",
                    (probe.run(record(case, bad))[0], seen()),
                    (INVALID_HANDLE, ("", "")),
                )
                count += 1
    check("handles tried", count > 10, True)


def memory() -> None:
    """Device pointers are checked over all that the call touches, without overflow."""
    by_name = {case.name: case for case in CASES}
    fill, rows = by_name["cuMemsetD32Async"], by_name["cuMemsetD2D16Async"]
    probe.run(record(fill, struct.pack("<QI4xQQ", 4096, 7, 10, 16)))
    check("D32 range", session.last_range(), (4096, 40))
    probe.run(record(rows, struct.pack("<QQH6xQQQ", 4096, 100, 7, 8, 5, 16)))
    check("D2D16 range", session.last_range(), (4096, 4 * 100 + 16))
    for body in (
        struct.pack("<QI4xQQ", session.OUTSIDE, 7, 10, 16),
        struct.pack("<QI4xQQ", 4096, 7, 1 << 62, 16),
        struct.pack("<QI4xQQ", 4096, 7, (1 << 64) - 1, 16),
    ):
        forget()
        check("refused fill", (probe.run(record(fill, body))[0], seen()), (INVALID_VALUE, ("", "")))
    for pitch, width, height in (
        (1 << 63, 8, 5),
        (8, 1 << 63, 5),
        (1 << 33, 8, 1 << 33),
        ((1 << 64) - 1, 1, 2),
    ):
        forget()
        body = struct.pack("<QQH6xQQQ", 4096, pitch, 7, width, height, 16)
        check("refused rows", (probe.run(record(rows, body))[0], seen()), (INVALID_VALUE, ("", "")))
    forget()
    check("empty fill", probe.run(record(fill, struct.pack("<QI4xQQ", session.OUTSIDE, 7, 0, 16)))[0], 0)


def noise() -> None:
    """Records with random bytes and sizes are refused or executed: no length in them is believed."""
    chance = random.Random(1)
    for _ in range(30000):
        case = chance.choice(CASES)
        body = bytearray(bytes.fromhex(case.request_bytes))
        for _ in range(chance.randrange(4)):
            if body:
                body[chance.randrange(len(body))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        if chance.random() < 0.3:
            body += chance.randbytes(chance.randrange(40))
        status, answer = probe.run(record(case, bytes(body)))
        known = status in (0, BAD_RECORD, INVALID_VALUE, INVALID_HANDLE)
        check(f"{case.name} {body.hex()}", (known, len(answer) <= 65536), (True, True))


def missing() -> None:
    """A driver that lacks a call: not supported, instead of an exception or success."""
    for case in cuda_cases():
        check(case.name, probe.run(record(case, bytes.fromhex(case.request_bytes)))[0], NOT_SUPPORTED)


if __name__ == "__main__":
    {f.__name__: f for f in (golden, sizes, unknown, forged, memory, noise, missing)}[sys.argv[2]]()
    print(f"done {Path(sys.argv[1]).name and sys.argv[2]}")
