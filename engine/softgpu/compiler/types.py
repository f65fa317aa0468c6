"""PTX's types: sizes in bytes, and the LLVM types that hold them.

Registers are kept as integers of their size (predicates as i1); float types appear only inside an
instruction.
"""

SIZE: dict[str, int] = {
    "pred": 1, "b8": 1, "u8": 1, "s8": 1, "e4m3": 1, "e5m2": 1, "e2m1x2": 1,
    "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "e4m3x2": 2, "e5m2x2": 2,
    "e2m3x2": 2, "e3m2x2": 2, "ue8m0x2": 2,
    "b32": 4, "u32": 4, "s32": 4, "f32": 4, "f16x2": 4, "bf16x2": 4, "tf32": 4, "u16x2": 4, "s16x2": 4,
    "b64": 8, "u64": 8, "s64": 8, "f64": 8, "f32x2": 8, "texref": 8, "samplerref": 8, "surfref": 8,
    "b128": 16,
}  # fmt: skip

FLOAT: dict[str, str] = {
    "f16": "half", "bf16": "bfloat", "f32": "float", "f64": "double", "tf32": "float",
    "f16x2": "<2 x half>", "bf16x2": "<2 x bfloat>", "f32x2": "<2 x float>",
}  # fmt: skip

SIGNED = frozenset({"s8", "s16", "s32", "s64"})

#: Type names as LLVM's overloaded intrinsics spell them.
SUFFIX: dict[str, str] = {
    "half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64",
    "<2 x half>": "v2f16", "<2 x bfloat>": "v2bf16", "<2 x float>": "v2f32", "<2 x i16>": "v2i16",
}  # fmt: skip


def bits(ty: str) -> int:
    """Width in bits of a value of PTX type `ty`."""
    return 1 if ty == "pred" else 8 * SIZE[ty]


def int_type(ty: str) -> str:
    """The LLVM integer type that holds a register of PTX type `ty`."""
    return f"i{bits(ty)}"


def llvm_type(ty: str) -> str:
    """The LLVM type that an instruction of PTX type `ty` computes with."""
    return FLOAT.get(ty) or int_type(ty)


def raw(ty: str) -> str:
    """The untyped PTX type of the same size: b32 for f32 or s32."""
    return "pred" if ty == "pred" else f"b{bits(ty)}"


def is_signed(ty: str) -> bool:
    """True for .s8 to .s64."""
    return ty in SIGNED
