"""Correct uses of remora.transport, for mypy --strict: every line must pass. Never run."""

from __future__ import annotations

import array
from typing import assert_type

import numpy as np

import remora.transport as rt


def messages(endpoint: rt.Endpoint) -> None:
    endpoint.send(b"bytes")
    endpoint.send(bytearray(3), timeout=1)
    endpoint.send(np.zeros(3), 0.5)
    endpoint.send_many([b"a", memoryview(b"b"), array.array("d", [1.0])])
    endpoint.send_many(str(i).encode() for i in range(3))
    assert_type(endpoint.receive(timeout=None), bytes)
    assert_type(endpoint.receive_many(limit=10, timeout=1.5), list[bytes])
    for message in endpoint:
        assert_type(message, bytes)


def buffers(endpoint: rt.Endpoint) -> None:
    with endpoint.allocate(100, remote="read") as buffer:
        assert_type(buffer, rt.Buffer)
        view = np.frombuffer(memoryview(buffer), np.float32)
        view[:] = 1
        assert_type(memoryview(buffer)[0], int)
        handle: bytes = bytes(buffer.handle)
    remote = rt.RemoteBuffer.from_bytes(handle)
    endpoint.register(np.zeros((3, 4)))
    endpoint.write(remote, np.ones(3), offset=8, timeout=1)
    endpoint.read(remote, bytearray(10))
    transfer = endpoint.start_read(remote, buffer)
    assert_type(transfer, rt.Transfer)
    if not transfer.done:
        transfer.wait(1)


def ends() -> None:
    options = rt.Options(ring_bytes=65536, silence=1)
    with rt.listen("127.0.0.1:0", transport="tcp") as listener:
        with rt.connect(listener.address, timeout=1, options=options) as endpoint:
            assert_type(endpoint, rt.Endpoint)
            assert_type(endpoint.stats["sends"], int)
        for accepted in listener:
            assert_type(accepted, rt.Endpoint)
    try:
        listener.accept(timeout=0.1)
    except TimeoutError as error:
        assert not isinstance(error, rt.Disconnected)
    except rt.DeadlineExceeded as late:
        assert_type(late.sent, int)


class Mine(rt.Transport):
    def connect(self, address: str, timeout: float) -> rt.Stream:
        raise OSError("nobody is there")

    def listen(self, address: str) -> rt.StreamListener:
        raise OSError("no")


rt.connect("somewhere", transport=Mine())
