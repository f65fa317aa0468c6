"""Wrong uses of remora.transport: mypy must find an error of the named kind in each marked line, no other.

Never run.
"""

from __future__ import annotations

import remora.transport as rt


def messages(endpoint: rt.Endpoint, buffer: rt.Buffer, remote: rt.RemoteBuffer) -> None:
    endpoint.send("text")  # wrong: arg-type
    endpoint.send(b"x", timeout="1 s")  # wrong: arg-type
    endpoint.send_many(5)  # wrong: arg-type
    endpoint.send_many(["text"])  # wrong: list-item
    number: int = endpoint.receive()  # wrong: assignment
    endpoint.receive_many("all")  # wrong: arg-type
    endpoint.write(buffer, b"x")  # wrong: arg-type
    endpoint.read(remote, None)  # wrong: arg-type
    endpoint.read(remote)  # wrong: call-arg
    endpoint.allocate()  # wrong: call-arg
    endpoint.register([1, 2, 3])  # wrong: arg-type
    endpoint.allocate(5, "read")  # wrong: call-arg
    endpoint.allocate(5, remote="both")  # wrong: arg-type
    endpoint.start_read(remote, bytearray(3)).done = True  # wrong: misc
    buffer.handle.key = number  # wrong: misc
    endpoint.flush()  # wrong: attr-defined
    rt.Endpoint("127.0.0.1:7500")  # wrong: call-arg
    rt.connect(7500)  # wrong: arg-type
    rt.connect("a:1", transport=Unfinished)  # wrong: arg-type
    rt.listen("a:1", options={"ring_bytes": 5})  # wrong: arg-type


class Unfinished(rt.Transport):
    def connect(self, address: str, timeout: float) -> rt.Stream:
        raise OSError

    def listen(self, address: int) -> rt.StreamListener:  # wrong: override
        raise OSError


class HalfAStream(rt.Stream):
    def send(self, data: memoryview) -> None:  # wrong: override
        pass


HalfAStream()  # wrong: abstract
