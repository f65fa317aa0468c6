"""What programs call of CUDA's device runtime library (libcudadevrt), which holds machine code only: the
functions behind a grid's `sync()` where the compiler left them as calls, as Numba does.

The barrier is the word beside the workspace's size, which %envreg1 and %envreg2 point to; its top bit turns
over when the last block has come. Must not know: how the text is compiled.
"""

from __future__ import annotations

GRID_FUNCTIONS = """
.visible .func (.param .b64 handle) cudaCGGetIntrinsicHandle(.param .b32 scope)
{
  .reg .b32 %r<3>; .reg .b64 %d<2>;
  mov.u32 %r1, %envreg2;
  mov.u32 %r2, %envreg1;
  mov.b64 %d1, {%r1, %r2};
  st.param.b64 [handle], %d1;
  ret;
}
.visible .func (.param .b32 status) cudaCGSynchronize(.param .b64 handle, .param .b32 flags)
{
  .reg .pred %p<4>; .reg .b32 %r<20>; .reg .b64 %d<2>;
  ld.param.b64 %d1, [handle];
  setp.eq.u64 %p1, %d1, 0;
  @%p1 bra none;
  bar.sync 0;
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %tid.y;
  mov.u32 %r3, %tid.z;
  or.b32 %r4, %r1, %r2;
  or.b32 %r4, %r4, %r3;
  setp.ne.u32 %p2, %r4, 0;
  @%p2 bra joined;
  mov.u32 %r5, %nctaid.x;
  mov.u32 %r6, %nctaid.y;
  mov.u32 %r7, %nctaid.z;
  mul.lo.u32 %r8, %r5, %r6;
  mul.lo.u32 %r8, %r8, %r7;
  sub.u32 %r9, 0x80000001, %r8;
  mov.u32 %r10, %ctaid.x;
  mov.u32 %r11, %ctaid.y;
  mov.u32 %r12, %ctaid.z;
  or.b32 %r13, %r10, %r11;
  or.b32 %r13, %r13, %r12;
  setp.eq.u32 %p2, %r13, 0;
  selp.u32 %r14, %r9, 1, %p2;
  membar.gl;
  atom.add.u32 %r15, [%d1+4], %r14;
waiting:
  ld.volatile.u32 %r16, [%d1+4];
  xor.b32 %r17, %r16, %r15;
  setp.ge.s32 %p3, %r17, 0;
  @%p3 bra waiting;
  membar.gl;
joined:
  bar.sync 0;
  mov.u32 %r18, 0;
  st.param.b32 [status], %r18;
  ret;
none:
  mov.u32 %r18, 1;
  st.param.b32 [status], %r18;
  ret;
}
"""


def completed(text: str) -> str:
    """PTX with the functions that it calls of the device runtime, unless it brings them itself."""
    calls = "cudaCGSynchronize" in text or "cudaCGGetIntrinsicHandle" in text
    return text + GRID_FUNCTIONS if calls and ".visible .func" not in lines_with(text, "cudaCG") else text


def lines_with(text: str, word: str) -> str:
    return "\n".join(line for line in text.splitlines() if word in line)
