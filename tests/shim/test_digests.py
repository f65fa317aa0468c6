"""The digests: MD2 against RFC 1319's vectors, BLAKE2b against Python's."""

from __future__ import annotations

import ctypes
import hashlib

import pytest

from tests.shim import library

# RFC 1319, appendix A.5.
MD2 = {
    b"": "8350e5a3e24c153df2275c9f80692773",
    b"a": "32ec01ec4a6dac72c0ab96fb34c0b5d1",
    b"abc": "da853b0d3f88d99b30283a69e6ded6bb",
    b"message digest": "ab4f496bfb2a530b219ff33031fe06b0",
    b"abcdefghijklmnopqrstuvwxyz": "4e8ddff3650292ab5a4108c3aa47940b",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789": "da33def2a42df13975352846c30338cd",
    b"1234567890" * 8: "d5976f79d83d3a0dc9806c3c66f3efd8",
}


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    sources = (f"shim/runtime/{name}.c" for name in ("md2", "blake2b", "integrity"))
    return library.load(tmp_path_factory.mktemp("digests") / "digests.so", *sources)


def md2(digests: ctypes.CDLL, data: bytes) -> bytes:
    out = ctypes.create_string_buffer(16)
    digests.rm_md2(data, ctypes.c_size_t(len(data)), out)
    return out.raw


@pytest.mark.parametrize("text", MD2, ids=lambda text: f"{len(text)} bytes")
def test_md2_gives_the_digests_of_the_standard(digests: ctypes.CDLL, text: bytes) -> None:
    assert md2(digests, text).hex() == MD2[text]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 255, 256, 257, 100_003])
def test_blake2b_agrees_with_python(digests: ctypes.CDLL, size: int) -> None:
    data = bytes(i * 7 % 251 for i in range(size))
    out = ctypes.create_string_buffer(32)
    digests.rm_blake2b_256(data, ctypes.c_size_t(size), out)
    assert out.raw == hashlib.blake2b(data, digest_size=32).digest()


class What(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("driver", "version", "pid", "thread")),
        *((name, ctypes.c_uint64) for name in ("runtime", "integrity", "function", "seconds")),
    ]


class Device(ctypes.Structure):
    _fields_ = [
        ("uuid", ctypes.c_uint8 * 16),
        *((name, ctypes.c_int32) for name in ("domain", "bus", "device")),
    ]


def answer(digests: ctypes.CDLL, what: What, devices: list[Device]) -> bytes:
    out = (ctypes.c_uint64 * 2)()
    digests.rm_integrity_answer(ctypes.byref(what), (Device * len(devices))(*devices), len(devices), out)
    return bytes(out)


@pytest.mark.parametrize(("version", "first"), [(13000, 0x3341181C03CB675C), (12091, 0x1841181C03CB675C)])
def test_integrity_has_two_fixed_answers(digests: ctypes.CDLL, version: int, first: int) -> None:
    expected = first.to_bytes(8, "little") + (0x8ED383AA1F4CD1E8).to_bytes(8, "little")
    assert answer(digests, What(version=version), []) == expected


def test_integrity_otherwise_is_an_hmac_over_client_and_devices(digests: ctypes.CDLL) -> None:
    key = bytes.fromhex("146AddAE53A9A752AA0841360BF55A9F")
    what = What(13000, 13002, 4242, 77, 0x7F0000001000, 0x7F0000002000, 0x7F0000003000, 1700000000)
    devices = [Device((ctypes.c_uint8 * 16)(*range(16)), 0, 65, 0), Device(domain=1, bus=2, device=3)]
    message = bytes(what) + b"".join(bytes(device) for device in devices)
    inner = md2(digests, bytes(k ^ 0x36 for k in key) + message)
    assert answer(digests, what, devices) == md2(digests, bytes(k ^ 0x5C for k in key) + inner)
    assert answer(digests, what, devices[:1]) != answer(digests, what, devices)
