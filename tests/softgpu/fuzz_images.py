"""Loads damaged images in a process of its own: `python -m tests.softgpu.fuzz_images IMAGE ROUNDS SEED`.

Each lies at the end of a mapping, so that reading beyond it is a fault. Prints how often each status came.
Knows nothing of pytest.
"""

from __future__ import annotations

import collections
import ctypes as C
import mmap
import random
import sys
from pathlib import Path

from tests.softgpu import process
from tests.softgpu.driver import Driver

EDGES = (0, 1, 0x7F, 0x80, 0xFF)


def damaged(image: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, most of them where the headers are; sometimes the end is missing."""
    data = bytearray(image)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(min(len(data), 256) if chance.random() < 0.7 else len(data))
        data[place] = chance.choice((*EDGES, chance.randrange(256), data[place] ^ 1 << chance.randrange(8)))
    return bytes(data[: chance.randrange(4, len(data))] if chance.random() < 0.2 else data)


def main() -> None:
    image, rounds, seed = Path(sys.argv[1]).read_bytes(), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    driver = Driver(process.LIBRARY)
    driver.call("cuInit", 0)
    driver.call("cuCtxSetCurrent", driver.get("cuDevicePrimaryCtxRetain", 0))
    room = mmap.mmap(-1, (len(image) // mmap.PAGESIZE + 2) * mmap.PAGESIZE)
    start = C.addressof(C.c_char.from_buffer(room))
    end = start + len(room) - mmap.PAGESIZE
    C.CDLL(None).mprotect(C.c_void_p(end), C.c_size_t(mmap.PAGESIZE), 0)
    seen: collections.Counter[int] = collections.Counter()
    for _ in range(rounds):
        data = damaged(image, chance)
        C.memmove(end - len(data), data, len(data))
        module = C.c_void_p()
        status = driver.status("cuModuleLoadData", C.byref(module), C.c_void_p(end - len(data)))
        seen[status] += 1
        if status == 0:
            driver.call("cuModuleUnload", module)
    print(dict(seen))


if __name__ == "__main__":
    main()
