"""The software GPU's compile service: PTX in, native object files out.

A module image goes through fatbin (find the PTX), module (index the text), parser (one function at a
time), unit (LLVM IR of a kernel and what it calls), native (object file), cache (files), service
(socket). ../kernel_abi.h says what the objects may refer to. Nothing here runs a kernel or knows the
driver's state.
"""
