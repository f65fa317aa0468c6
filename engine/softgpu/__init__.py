"""The software GPU: a driver library in C (lib/libcuda.so.1) and its compile service."""
