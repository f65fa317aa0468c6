# distutils: sources = engine/session.c engine/arena.c engine/gate.c engine/jobs.c engine/ledger.c engine/printed.c engine/staging.c transport/arrive.c transport/carrier.c transport/fail.c transport/frames.c transport/futex.c transport/open.c transport/put.c transport/rdma.c transport/rdma_bulk.c transport/rdma_memory.c transport/rdma_port.c transport/rdma_send.c transport/rdma_setup.c transport/rdma_stage.c transport/read.c transport/send.c transport/serve.c transport/share.c transport/shm.c transport/shm_files.c transport/shm_setup.c transport/stream.c transport/take.c transport/tcp.c transport/verbs.c transport/wait.c
# cython: language_level=3
"""Handlers of one session: what its records mean, done through the driver.

One file per object kind is included below. All of it runs without the GIL on the issuer thread or on a
helper thread; which context is current is kept per thread. Must not know: the loop that reads records, Python
objects (except the image store, when a module is loaded).
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset, strlen
from cuda.bindings cimport cydriver
from cuda.bindings.cydriver cimport (
    CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction, CUkernel, CUlibrary, CUmodule, CUstream,
)
from remora.engine.generated.records cimport *
from remora.engine.state cimport *

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from * nogil:
    """
    #include <time.h>
    static inline uint64_t now_ns(void) {
      struct timespec now;
      clock_gettime(CLOCK_MONOTONIC, &now);
      return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
    """
    uint64_t now_ns()

# CUresult values that handlers give themselves.
cdef enum:
    SUCCESS = 0
    INVALID_VALUE = 1
    OUT_OF_MEMORY = 2
    INVALID_IMAGE = 200
    INVALID_CONTEXT = 201
    INVALID_HANDLE = 400
    NOT_FOUND = 500
    NOT_READY = 600
    NOT_SUPPORTED = 801
    UNKNOWN = 999

include "../transport/carrying.pxi"
include "printing.pxi"
include "reply.pxi"
include "contexts.pxi"
include "lanes.pxi"
include "fence.pxi"
include "sharing.pxi"
include "memory.pxi"
include "peers.pxi"
include "dmabuf.pxi"
include "copies.pxi"
include "streams.pxi"
include "events.pxi"
include "modules.pxi"
include "launches.pxi"
include "gates.pxi"
include "direct.pxi"
include "receiving.pxi"
