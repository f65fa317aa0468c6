"""Every knob of the engine's supervisor and workers, with its reason."""

from __future__ import annotations

import os

DEFAULT_PORT = 7401  # of `remora serve`, when the address names none

HANDSHAKE_SECONDS = 10.0  # an honest client says hello at once; a silent one only holds a thread
HANDSHAKES = 256  # connections that may be in their handshake at a time
PARTING_SECONDS = 1.0  # for a refused client to read why
CONTROL_SECONDS = 20.0  # patience of our own control requests
LEASES = 1024  # a bound on memory, not a policy
SESSIONS = 256  # worker processes at a time

READY_SECONDS = 60.0  # a cold driver on a large machine takes many seconds to initialise
STOP_SECONDS = 3.0  # between asking workers to end and killing them
SPARES = 1  # warm workers kept: driver loaded and initialised, no context, no device memory

# Device memory that an NVIDIA context takes beside what a program allocates (others measured 250-600 MiB).
# Kept free for each lease, so that partitions can be filled to the last byte; REMORA_CONTEXT_MIB overrides.
CONTEXT_MIB = int(os.environ.get("REMORA_CONTEXT_MIB", "512"))

CARRIERS = 8  # ways to carry a session that a client may offer, and
BLOB_BYTES = 4096  # what it may say of each: RM_CARRIERS_MAX, RM_BLOB_MAX of transport/carrier.h
RING_BYTES = 4 << 20  # of each ring; a client may ask for less
RING_LEAST = 64 << 10
BULK_WINDOW = 16  # bulk messages of 1 MiB on their way: covers 10 GB/s at 1 ms
PRIORITY_GREATEST = -5  # stream priorities 0..-5; a device with fewer clamps them

RANGE_GIB_LEAST = 16  # device addresses of a partition: room for holes between allocations,
RANGE_FACTOR = 4  # at least so many times its memory
VA_ROUNDS = 8  # attempts at finding addresses that are free on both sides

IMAGE_BYTES = 1 << 30  # the largest module image
IMAGE_CACHE_BYTES = 4 << 30  # images kept on disk for all sessions of an engine
IMAGES_BYTES = 2 << 30  # of all images that a session holds in memory
IMAGES_INCOMING = 8  # images that a session may be sending at a time
