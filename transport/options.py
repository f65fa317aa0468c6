"""What an endpoint may be told beside its address; every default has its reason in tuning.h."""

from __future__ import annotations

from dataclasses import dataclass

RING_LEAST, RING_MOST = 4 << 10, 64 << 20
WINDOW_MOST = 127
SILENCE_LEAST, SILENCE_MOST = 0.1, 3600.0


@dataclass(frozen=True)
class Options:
    """Sizes in bytes, times in seconds. The connecting end decides on the first three for both ends.

    ring_bytes: of the ring in each direction, a power of two from 4 KiB to 64 MiB; small messages, reads and
    writes travel in it. bulk_window: pieces of 1 MiB of a large transfer that may be under way, 1 to 127.
    silence: how long a peer may be unheard of before it counts as dead, 0.1 to 3600 s.
    max_message: what this end takes in one message. queue: messages that may lie here unreceived, in bytes;
    senders wait beyond it; 0: four times max_message.
    """

    ring_bytes: int = 1 << 20
    bulk_window: int = 16
    silence: float = 30.0
    max_message: int = 8 << 20
    queue: int = 0

    def __post_init__(self) -> None:
        ring = self.ring_bytes
        if not RING_LEAST <= ring <= RING_MOST or ring & (ring - 1):
            raise ValueError(f"ring_bytes is a power of two from {RING_LEAST} to {RING_MOST}, not {ring}")
        if not 1 <= self.bulk_window <= WINDOW_MOST:
            raise ValueError(f"bulk_window is 1 to {WINDOW_MOST}, not {self.bulk_window}")
        if not SILENCE_LEAST <= self.silence <= SILENCE_MOST:
            raise ValueError(f"silence is {SILENCE_LEAST} to {SILENCE_MOST} s, not {self.silence}")
        if not 1 <= self.max_message < 1 << 40:
            raise ValueError(f"max_message is 1 byte to 1 TiB, not {self.max_message}")
        if self.queue and self.queue < 2 * self.max_message + 128:
            raise ValueError("queue has to hold two of the largest messages and 128 bytes")

    @property
    def window(self) -> int:
        """The queue that is really meant."""
        return self.queue or 4 * self.max_message + 4096
