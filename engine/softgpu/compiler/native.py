"""LLVM IR to an object file for this machine, through llvmlite."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm

OPTIMISE = 1  # O2 makes these kernels no faster and takes longer; docs/performance.md


@functools.cache
def machine() -> llvm.TargetMachine:
    """The host's target machine, for position-independent code."""
    llvm.set_option("remora", "-disable-lsr")  # a fifth of compiling, for 2% of what kernels take
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=OPTIMISE,
        reloc="pic",
        codemodel="small",
    )


def llvm_version() -> str:
    """ "22.1.0" """
    return ".".join(str(n) for n in llvm.llvm_version_info)


def optimised(ir: str) -> llvm.ModuleRef:
    """Parse, verify and optimise; coroutines are split here."""
    module = llvm.parse_assembly(ir)
    module.triple = llvm.get_default_triple()
    module.data_layout = str(machine().target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=OPTIMISE)
    options.loop_vectorization = True
    options.slp_vectorization = True
    options.loop_unrolling = False  # whoever made the PTX has unrolled what was worth it
    builder = llvm.create_pass_builder(machine(), options)
    builder.getModulePassManager().run(module, builder)
    return module


def compile_ir(ir: str) -> bytes:
    """A relocatable object file."""
    return bytes(machine().emit_object(optimised(ir)))
