"""PTX text cut into tokens, and a cursor over them."""

from __future__ import annotations

import re

from remora.engine.softgpu.compiler.errors import PtxError
from remora.engine.softgpu.compiler.syntax import Bits

TOKEN = re.compile(
    r"""\s*(?:
  (?P<float>0[fF][0-9a-fA-F]{8}(?![0-9a-fA-F]) | 0[dD][0-9a-fA-F]{16}) |
  (?P<number>0[xX][0-9a-fA-F]+U? | 0[bB][01]+U? | \d+\.\d*(?:[eE][-+]?\d+)? | \d+[eE][-+]\d+ | \d+U?) |
  (?P<word>[%$._A-Za-z][\w$.]*(?:::[\w.]+)*) |
  (?P<string>"(?:[^"\\\n]|\\.)*") |
  (?P<sign><<|>>|==|!=|<=|>=|&&|\|\||[-+*/{}()\[\];:,<>=@!|&~^?])
)""",
    re.VERBOSE,
)


def number(text: str) -> int | float:
    """The value of a PTX number literal."""
    digits = text.rstrip("U")
    head = digits[:2].lower()
    if head == "0x":
        return int(digits, 16)
    if head == "0b":
        return int(digits, 2)
    if "." in digits or "e" in digits or "E" in digits:
        return float(digits)
    if len(digits) > 1 and digits[0] == "0":
        try:
            return int(digits, 8)
        except ValueError as error:
            raise PtxError(f"bad octal number {text}") from error
    return int(digits)


def float_bits(text: str) -> Bits:
    """0f... or 0d..."""
    return Bits(int(text[2:], 16), 32 if text[1] in "fF" else 64)


class Tokens:
    """A cursor over the tokens of text[start:end]; the list ends in an empty token."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.places: list[int] = []
        self.i = 0
        pos = start
        for match in TOKEN.finditer(text, start, end):
            if match.start() != pos:
                break
            self.append(match.lastgroup or "", match)
            pos = match.end()
        if text[pos:end].strip():
            raise PtxError(f"unexpected text {text[pos:end].strip()[:20]!r}", pos)
        for _ in range(2):  # peek(1) at the end is legal
            self.kinds.append("end")
            self.texts.append("")
            self.places.append(end)

    def append(self, kind: str, match: re.Match[str]) -> None:
        """Add a token; directives written without a blank between (.reg.b16) are several."""
        text, place = match.group(kind), match.start(kind)
        pieces = text.split(".")[1:] if kind == "word" and text[0] == "." else []
        for piece in [f".{p}" for p in pieces] if len(pieces) > 1 else [text]:
            self.kinds.append(kind)
            self.texts.append(piece)
            self.places.append(place)

    @property
    def pos(self) -> int:
        return self.places[self.i]

    @property
    def kind(self) -> str:
        return self.kinds[self.i]

    def peek(self, ahead: int = 0) -> str:
        return self.texts[self.i + ahead]

    def next(self) -> str:
        if self.kinds[self.i] == "end":
            raise PtxError("the text ends in the middle of a statement", self.pos)
        self.i += 1
        return self.texts[self.i - 1]

    def accept(self, text: str) -> bool:
        if self.texts[self.i] != text or self.kinds[self.i] == "end":
            return False
        self.i += 1
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise PtxError(f"expected {text!r}, found {self.peek()!r}", self.pos)

    def skip_past(self, text: str) -> None:
        while self.next() != text:
            pass

    def integer(self) -> int:
        """A signed integer literal."""
        negative = self.accept("-")
        if self.kind != "number":
            raise PtxError(f"expected a number, found {self.peek()!r}", self.pos)
        value = number(self.next())
        if isinstance(value, float):
            raise PtxError("expected a whole number", self.pos)
        return -value if negative else value
