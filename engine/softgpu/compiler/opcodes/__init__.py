"""The translation of each PTX opcode, by subject. Importing a module registers its opcodes."""

from remora.engine.softgpu.compiler.opcodes import control as control


def load() -> None:
    """Register every opcode."""
    from remora.engine.softgpu.compiler.opcodes import (  # noqa: F401
        approximate,
        arith,
        atomics,
        bitwise,
        compare,
        convert,
        floats,
        memory,
        stack,
        warp,
    )  # fmt: skip
