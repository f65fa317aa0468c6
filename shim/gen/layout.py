"""Fixed layouts: fields with C's natural alignment and explicit padding, the same in C and in FlatBuffers.

A struct's size is a multiple of 8, so that raw bytes after it are aligned. No input, no output."""

from dataclasses import dataclass

# wire type -> (C type, FlatBuffers type, bytes)
TYPES = {
    "u8": ("uint8_t", "ubyte", 1),
    "u16": ("uint16_t", "ushort", 2),
    "u32": ("uint32_t", "uint", 4),
    "i32": ("int32_t", "int", 4),
    "u64": ("uint64_t", "ulong", 8),
    "i64": ("int64_t", "long", 8),
    "f32": ("float", "float", 4),
}
IDS = ("stream", "event", "module", "function", "context")  # travel as u64


@dataclass(frozen=True)
class Field:
    """One field of a record: count 0 is a single value, else an array."""

    name: str
    type: str
    count: int = 0

    @property
    def wire(self) -> str:
        return "u64" if self.type in IDS else self.type

    @property
    def alignment(self) -> int:
        return TYPES[self.wire][2]

    @property
    def bytes(self) -> int:
        return self.alignment * max(self.count, 1)

    @property
    def c(self) -> str:
        return f"{TYPES[self.wire][0]} {self.name}" + (f"[{self.count}]" if self.count else "")

    @property
    def schema(self) -> str:
        base = TYPES[self.wire][1]
        return f"[{base}:{self.count}]" if self.count else base


@dataclass(frozen=True)
class Placed:
    """A field and where it lies."""

    field: Field
    offset: int
    padding: bool = False


def place(fields: list[Field]) -> list[Placed]:
    """Gives every field its offset; padding becomes fields of its own, so that no byte is unnamed."""
    placed: list[Placed] = []
    offset = pads = 0

    def pad(to: int) -> None:
        nonlocal offset, pads
        if gap := -offset % to:
            placed.append(Placed(Field(f"pad{pads}", "u8", gap), offset, padding=True))
            offset, pads = offset + gap, pads + 1

    for field in fields:
        pad(field.alignment)
        placed.append(Placed(field, offset))
        offset += field.bytes
    pad(8)
    return placed


def size(fields: list[Field]) -> int:
    """Bytes of the struct; 0 where there are no fields."""
    return sum(p.field.bytes for p in place(fields))
