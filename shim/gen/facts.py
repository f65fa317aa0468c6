"""What the header says: functions, types, sizes. Input: shim/api/cuda_<version>.json. No output."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

API = Path(__file__).resolve().parent.parent / "api"
SCALARS = {
    "int": "i32", "signed int": "i32", "unsigned int": "u32", "unsigned": "u32", "long long": "i64",
    "int32_t": "i32", "unsigned long long": "u64", "size_t": "u64", "uint64_t": "u64", "uint32_t": "u32",
    "unsigned char": "u8", "unsigned short": "u16", "float": "f32", "char": "u8",
}  # fmt: skip


@dataclass(frozen=True)
class Param:
    """One argument: its C type without the name, and its name."""

    type: str
    name: str

    @property
    def declaration(self) -> str:
        return f"{self.type}{'' if self.type.endswith('*') else ' '}{self.name}"


@dataclass(frozen=True)
class Function:
    """One exported symbol: an ABI version of a base name, for the legacy or the per-thread default stream."""

    symbol: str
    base: str
    abi: int
    per_thread: str
    params: tuple[Param, ...]

    @property
    def arguments(self) -> str:
        return ", ".join(p.declaration for p in self.params) or "void"

    @property
    def has_stream(self) -> bool:
        return any(p.type == "CUstream" for p in self.params)


class Facts:
    """The header's facts, looked up the way the generator needs them."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.version: int = data["version"]
        self.types: list[dict[str, Any]] = data["types"]
        self.sizes: dict[str, list[int]] = data["sizes"]
        self.enumerators: dict[str, int] = data["enumerators"]
        self.macros: dict[str, str] = data["macros"]
        self.functions = {s: self.function(s, f) for s, f in sorted(data["functions"].items())}

    @staticmethod
    def function(symbol: str, f: dict[str, Any]) -> Function:
        return Function(
            symbol, f["base"], f["abi"], f["per_thread"], tuple(Param(t, n) for t, n in f["params"])
        )

    @cached_property
    def bases(self) -> dict[str, list[Function]]:
        """Base name -> its symbols, newest ABI first, legacy stream before per-thread."""
        found: dict[str, list[Function]] = {}
        for f in sorted(self.functions.values(), key=lambda f: (f.base, -f.abi, f.per_thread)):
            found.setdefault(f.base, []).append(f)
        return found

    def newest(self, base: str) -> Function:
        """The symbol whose signature is the wire's and the runtime's: the newest ABI of a base name."""
        return self.bases[base][0]

    @cached_property
    def names(self) -> set[str]:
        """Every typedef."""
        return {t["name"] for t in self.types if t["typedef"]}

    @cached_property
    def enums(self) -> set[str]:
        return {t["name"] for t in self.types if t["kind"] == "enum"}

    @cached_property
    def aliases(self) -> dict[str, str]:
        """typedef name -> what it stands for, for the plain `typedef A B;` ones."""
        plain = (re.fullmatch(r"typedef ((?:unsigned |long )*\w+) (\w+);", t["c"]) for t in self.types)
        return {m[2]: m[1] for m in plain if m}

    def canonical(self, type: str) -> str:
        """A C type with its plain typedefs resolved, pointers kept: "const CUDA_MEMCPY2D *"."""
        return re.sub(r"\w+", lambda m: self.resolve(m[0]), type)

    def resolve(self, name: str) -> str:
        while name in self.aliases and name not in SCALARS:
            name = self.aliases[name]
        return name

    def scalar(self, type: str) -> str | None:
        """The wire's type of a C scalar or enum, None if it is neither."""
        if type in self.enums or self.resolve(type) in self.enums:
            return "i32"
        return SCALARS.get(self.resolve(type))


def load(version: int = 13000, api: Path = API) -> Facts:
    """The facts of one header version."""
    return Facts(json.loads((api / f"cuda_{version}.json").read_text()))
