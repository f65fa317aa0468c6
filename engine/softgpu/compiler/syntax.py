"""What the parser makes of PTX: functions, variables, instructions and their operands."""

from __future__ import annotations

from dataclasses import dataclass, field

from remora.engine.softgpu.compiler.types import SIZE


@dataclass(slots=True)
class Reg:
    """A declared register; names are unique inside a function."""

    name: str


@dataclass(slots=True)
class Special:
    """A special register such as %tid.x."""

    name: str


@dataclass(slots=True)
class Not:
    """A negated predicate register: !%p1."""

    name: str


@dataclass(slots=True)
class Int:
    """An integer literal, or a decimal one with a point (then a float)."""

    value: int | float


@dataclass(slots=True)
class Bits:
    """A float literal by its bits: 0f3F800000 or 0d3FF0000000000000."""

    bits: int
    width: int


@dataclass(slots=True)
class Sym:
    """The address of a variable or function, or a label."""

    name: str
    offset: int = 0


@dataclass(slots=True)
class Mem:
    """[base + offset] and, rarely, further operands after a comma."""

    base: Operand
    offset: int = 0
    extra: tuple[Operand, ...] = ()


@dataclass(slots=True)
class Vec:
    """{a, b, ...}"""

    items: list[Operand]


@dataclass(slots=True)
class Group:
    """(a, b, ...): the arguments or results of a call."""

    items: list[Operand]


@dataclass(slots=True)
class Pair:
    """d|p: two destinations."""

    first: Operand
    second: Operand


@dataclass(slots=True)
class Sink:
    """_: a result nobody wants."""


Operand = Reg | Special | Not | Int | Bits | Sym | Mem | Vec | Group | Pair | Sink


@dataclass(slots=True)
class Instr:
    """One instruction. parts are the opcode and its modifiers, types included."""

    op: str
    parts: list[str]
    args: list[Operand]
    pred: Reg | Not | None
    pos: int

    @property
    def name(self) -> str:
        """The opcode without modifiers."""
        return self.parts[0]

    def types(self) -> list[str]:
        """The type modifiers, in order."""
        return [p for p in self.parts[1:] if p in SIZE]

    def has(self, *mods: str) -> bool:
        """Whether any of these modifiers is there."""
        return any(m in self.parts for m in mods)

    def one_of(self, *mods: str, default: str = "") -> str:
        """The first modifier that is one of `mods`."""
        return next((p for p in self.parts[1:] if p in mods), default)


@dataclass(slots=True)
class Label:
    """A branch target."""

    name: str


@dataclass(slots=True)
class Ref:
    """In an initializer: (address of `name` + offset) >> shift, `mask` keeping one byte of it."""

    name: str
    offset: int = 0
    shift: int = 0
    one_byte: bool = False


@dataclass(slots=True)
class Var:
    """A variable or parameter. count is the number of elements; size is in bytes, 0 when open ([])."""

    space: str
    type: str
    name: str
    align: int
    count: int
    size: int
    init: list[int | float | Bits | Ref] | None = None
    extern: bool = False
    managed: bool = False
    visible: bool = False


@dataclass(slots=True)
class Function:
    """A parsed .entry or .func; body is None for a declaration."""

    name: str
    entry: bool
    params: list[Var] = field(default_factory=list)
    rets: list[Var] = field(default_factory=list)
    limits: dict[str, list[int]] = field(default_factory=dict)
    regs: dict[str, str] = field(default_factory=dict)
    vars: list[Var] = field(default_factory=list)
    tables: dict[str, list[str]] = field(default_factory=dict)
    body: list[Instr | Label] = field(default_factory=list)
    pos: int = 0

    def instructions(self) -> list[Instr]:
        """The body without its labels."""
        return [x for x in self.body if isinstance(x, Instr)]
