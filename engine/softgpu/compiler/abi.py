"""The numbers of ../kernel_abi.h that the translator and the service use. A test compares them with the
header.
"""

from __future__ import annotations

import struct

KERNEL_ABI = 4

MODE_LOOP, MODE_CORO = 0, 1
KERNEL_GRID_SYNC = 1
KERNEL_INFO_RESERVED = 9

#: struct rm_block
BLOCK = {
    "ntid": 0, "nctaid": 12, "ctaid": 24, "dynamic_shared": 36, "shared": 40, "total_shared": 48, "smid": 52,
    "params": 56, "nsmid": 64, "grid_id": 68, "envreg": 72,
}  # fmt: skip

#: struct rm_thread
THREAD = {
    "tid": 16, "state": 28, "op": 32, "mask": 36, "a": 40, "b": 48, "c": 56, "result": 64, "predicate": 72,
    "barrier": 76, "barrier_count": 80, "lane": 84, "index": 88, "values": 96,
}  # fmt: skip

STATE = {"barrier": 1, "warp": 2, "done": 3, "yield": 4}
BARRIER = {"sync": 0, "popc": 1, "and": 2, "or": 3}
WARP = {
    "sync": 0, "up": 1, "down": 2, "bfly": 3, "idx": 4, "ballot": 5, "any": 6, "all": 7, "uni": 8,
    "match_any": 9, "match_all": 10, "add": 11, "min_u": 12, "max_u": 13, "min_s": 14, "max_s": 15,
    "and": 16, "or": 17, "xor": 18, "active": 19, "ldmatrix": 32, "mma": 33,
}  # fmt: skip

#: Element types of mma, and the shapes there are: A's and B's types, C's, rows of A, k.
MMA = {
    "f16": 0, "bf16": 1, "tf32": 2, "f64": 3, "e4m3": 4, "e5m2": 5, "s8": 6, "u8": 7, "f32": 8, "s32": 9,
}  # fmt: skip
MMA_SHAPES = [
    ("f16", "f32 f16", 16, (8, 16)), ("bf16", "f32", 16, (8, 16)), ("tf32", "f32", 16, (4, 8)),
    ("f64", "f64", 8, (4,)), ("f64", "f64", 16, (4, 8, 16)), ("e4m3 e5m2", "f32 f16", 16, (16, 32)),
    ("s8 u8", "s32", 8, (16,)), ("s8 u8", "s32", 16, (16, 32)),
]  # fmt: skip

#: Floats of 16 bits and less, for rm_narrow and rm_widen.
NARROW = {"f16": 0, "bf16": 1, "e4m3": 2, "e5m2": 3, "e2m3": 4, "e3m2": 5, "e2m1": 6, "ue8m0": 7}
SATFINITE = 4

DESC_MAGIC = 0x444D4D52
DESC_NONE = 0xFFFFFFFFFFFFFFFF
DESC = struct.Struct("<IIQ3I5I8Q")
DESC_KERNEL = struct.Struct("<12I")
DESC_PARAM = struct.Struct("<4I")
DESC_VARIABLE = struct.Struct("<4I3Q2I")
DESC_REFERENCE = struct.Struct("<QQIHH")
MODULE_FUNCTIONS = 1
SPACE = {"global": 0, "const": 1}
VARIABLE_EXTERN, VARIABLE_MANAGED, VARIABLE_LOCAL = 1, 2, 4

LINK_MAGIC = 0x4B4C4D52

SERVICE_MAGIC = 0x53434D52
SERVICE_IDLE_S = 60
SERVICE_MAX_IMAGE = 1 << 30
HEAD = struct.Struct("<IIQ")
ASK_HELLO, ASK_DESCRIBE, ASK_COMPILE = 1, 2, 3
ASK_DESCRIBE_BODY = struct.Struct("<II")
ASK_COMPILE_BODY = struct.Struct("<32sII")
SERVICE_OK = 0
SERVICE_NEED_IMAGE = 0xFFFFFFFF
UNIT_FUNCTIONS = 0xFFFFFFFF
