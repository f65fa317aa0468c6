"""Remora lends GPUs over the network: an unmodified CUDA program runs on a GPU that is elsewhere.

The rooms stand at the top of the repository; this package names them (remora.transport, remora.engine,
remora.shim, remora.bench). Must import nothing, so that the smallest tool pays nothing for the largest.
"""

__version__ = "0.1.0.dev0"
