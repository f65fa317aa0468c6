/* cudaProfiler.h: cuda-bindings before 13.4 name this header; nothing of it is used here. */
