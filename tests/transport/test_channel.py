"""Channels and the process around them: the documented first frame, signals that end it.

What every transport must do is in tests/transport/conformance.
"""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import time

import pytest

from remora.transport import _channel as ch
from remora.transport.conformance.ends import ended

from .links import sockets

pytestmark = pytest.mark.timeout(60)


def test_the_first_frame_is_as_documented() -> None:
    """The example of docs/wire.md."""
    near, far = sockets()
    client = ch.Channel(near.detach(), service=True, deliver=True)
    client.post(100, struct.pack("<Q", 42), flags=ch.F_WAITS, ctx=1, thread=1)
    client.flush()
    example = "01000000180000000000000000000000 64000100180000000100000001000100 2a00000000000000"
    assert far.recv(4096) == bytes.fromhex(example)
    far.close()
    client.close()


WAITS_FOR_EVER = """
import socket, sys
from remora.transport._channel import Channel
channel = Channel(int(sys.argv[1]), service=True, deliver=True)
print("waiting", flush=True)
channel.call(64)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_default_action_of_a_signal_ends_a_waiting_process(number: int) -> None:
    near, far = sockets()
    engine = ch.Channel(near.detach())
    engine.start_reader()
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n" + WAITS_FOR_EVER
    program = subprocess.Popen(
        [sys.executable, "-c", code, str(far.fileno())], pass_fds=[far.fileno()], stdout=subprocess.PIPE
    )
    far.close()
    assert program.stdout is not None and program.stdout.readline()
    time.sleep(0.1)
    program.send_signal(number)
    assert program.wait(5) == -number
    assert ended(engine)[0] == ch.EPEER
    engine.close()
