"""Special registers: %tid, %laneid, %clock and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remora.engine.softgpu.compiler import abi
from remora.engine.softgpu.compiler.errors import UnsupportedError
from remora.engine.softgpu.compiler.types import bits

if TYPE_CHECKING:
    from remora.engine.softgpu.compiler.function import FunctionEmitter

#: One block is a cluster of its own.
CONSTANT = {
    "%nwarpid": "32", "%reserved_smem_cap": "1024", "%cluster_ctarank": "0", "%cluster_nctarank": "1",
    "%is_explicit_cluster": "0", "%current_graph_exec": "0", "%aggr_smem_size": "0",
}  # fmt: skip
CLUSTER = {"%cluster_ctaid": "0", "%cluster_nctaid": "1"}
FIELD = {
    "%dynamic_smem_size": "dynamic_shared", "%total_smem_size": "total_shared", "%smid": "smid",
    "%nsmid": "nsmid",
    "%gridid": "grid_id",
}  # fmt: skip
CLOCK = frozenset({"%clock", "%clock64", "%clock_hi", "%globaltimer", "%globaltimer_lo", "%globaltimer_hi"})
LANE_MASKS = frozenset({"%lanemask_eq", "%lanemask_lt", "%lanemask_le", "%lanemask_gt", "%lanemask_ge"})


def value(f: FunctionEmitter, name: str, ty: str) -> str:
    """A special register's value as an integer of the size of `ty`."""
    if name in CLOCK:
        return _clock(f, name, ty)
    if ty == "pred":  # mov.pred %p, %is_explicit_cluster
        return "false" if name == "%is_explicit_cluster" else _unknown(name)
    return f.resize(_word(f, name), 32, bits(ty))


def linear_thread(f: FunctionEmitter) -> str:
    """The thread's linear index in its block."""
    nx, ny = f.block_field("ntid"), f.block_field("ntid", extra=4)
    row = f.emit(f"mul i32 {ny}, %tid.z")
    row = f.emit(f"add i32 {row}, %tid.y")
    row = f.emit(f"mul i32 {row}, {nx}")
    return f.emit(f"add i32 {row}, %tid.x")


def lane(f: FunctionEmitter) -> str:
    """The thread's lane in its warp."""
    return f.emit(f"and i32 {linear_thread(f)}, 31")


def _word(f: FunctionEmitter, name: str) -> str:
    base, _, component = name.partition(".")
    if base in ("%tid", "%ntid", "%ctaid", "%nctaid") and component in ("x", "y", "z"):
        return (
            f"%tid.{component}"
            if base == "%tid"
            else f.block_field(base[1:], extra=4 * "xyz".index(component))
        )
    if name == "%laneid":
        return lane(f)
    if name == "%warpid":
        return f.emit(f"lshr i32 {linear_thread(f)}, 5")
    if name in LANE_MASKS:
        return _lane_mask(f, name)
    if name in FIELD:
        return f.block_field(FIELD[name])
    if name in CONSTANT:
        return CONSTANT[name]
    if name.startswith("%reserved_smem_offset"):
        return "0"
    if name.startswith("%envreg") and name[7:].isdigit() and int(name[7:]) < 32:
        return _envreg(f, int(name[7:]))
    if base in CLUSTER:
        return CLUSTER[base]
    if base in ("%clusterid", "%nclusterid"):
        field = "ctaid" if base == "%clusterid" else "nctaid"
        return f.block_field(field, extra=4 * "xyz".index(component))
    return _unknown(name)


def _unknown(name: str) -> str:
    raise UnsupportedError(f"special register {name} is not supported")


def _envreg(f: FunctionEmitter, index: int) -> str:
    if index in (1, 2):
        f.unit.flags |= abi.KERNEL_GRID_SYNC
    return f.load("i32", f.field(f.block_field("envreg", "ptr"), 4 * index), 4)


def _lane_mask(f: FunctionEmitter, name: str) -> str:
    one = f.emit(f"shl i32 1, {lane(f)}")
    match name[-2:]:
        case "eq":
            return one
        case "lt":
            return f.emit(f"sub i32 {one}, 1")
        case "ge":
            return f.emit(f"sub i32 0, {one}")
    twice = f.emit(f"shl i32 {one}, 1")
    return f.emit(f"sub i32 {twice}, 1") if name.endswith("le") else f.emit(f"sub i32 0, {twice}")


def _clock(f: FunctionEmitter, name: str, ty: str) -> str:
    timer = name.startswith("%globaltimer")
    ticks = f.call("rm_global_timer" if timer else "llvm.readcyclecounter", "i64")
    if name.endswith("_hi"):
        ticks = f.emit(f"lshr i64 {ticks}, 32")
    return f.resize(ticks, 64, bits(ty))
