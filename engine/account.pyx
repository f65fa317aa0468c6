# distutils: sources = engine/ledger.c
# cython: language_level=3
"""The ledger of one lease, as the supervisor and the workers hold it: shared memory that counts what is used.

Must not know: sockets, processes, the driver.
"""
import mmap
import os

from libc.stdint cimport uint32_t, uint64_t, uintptr_t

cdef extern from "engine/ledger.h":
    enum: LEDGER_DEVICES
    enum: LEDGER_SLOTS
    ctypedef struct LedgerSlot:
        uint64_t used[8]
        uint64_t calls
        uint64_t answers
    ctypedef struct Ledger:
        uint64_t quota[8]
        LedgerSlot slots[64]
    void ledger_init(Ledger *ledger)
    uint64_t ledger_used(Ledger *ledger, uint32_t device)
    bint ledger_charge(Ledger *ledger, uint32_t slot, uint32_t device, uint64_t size)
    void ledger_return(Ledger *ledger, uint32_t slot, uint32_t device, uint64_t size)
    void ledger_clear(Ledger *ledger, uint32_t slot)

SLOTS = LEDGER_SLOTS
MAX_DEVICES = LEDGER_DEVICES


cdef class Account:
    """A mapped ledger. Account(quotas=[bytes, ...]) makes one in a memfd; Account(fd=n) maps another's."""

    cdef Ledger *ledger
    cdef object page
    cdef readonly int fd
    cdef readonly int devices

    def __cinit__(self, list quotas=None, int fd=-1):
        cdef unsigned char[::1] view
        made = fd < 0
        self.fd = os.memfd_create("remora-ledger", os.MFD_CLOEXEC) if made else fd
        if made:
            os.ftruncate(self.fd, sizeof(Ledger))
        self.page = mmap.mmap(self.fd, sizeof(Ledger))
        view = self.page
        self.ledger = <Ledger *>&view[0]
        if made:
            ledger_init(self.ledger)
            self.set_quotas(quotas or [])

    @property
    def address(self) -> int:
        """Where the ledger is mapped, for the session's C side; valid while this object lives."""
        return <uintptr_t>self.ledger

    def set_quotas(self, list quotas) -> None:
        """Bytes for each device of the lease."""
        if len(quotas) > LEDGER_DEVICES:
            raise ValueError(f"a lease has at most {LEDGER_DEVICES} devices")
        self.devices = len(quotas)
        for device, quota in enumerate(quotas):
            self.ledger.quota[device] = quota

    def quota(self, int device) -> int:
        self._check(device, 0)
        return self.ledger.quota[device]

    def used(self, int device) -> int:
        """Bytes that all sessions of the lease hold on a device."""
        self._check(device, 0)
        return ledger_used(self.ledger, device)

    def slot(self, int slot) -> dict:
        """What one session holds (bytes per device), and its counts of records and replies."""
        self._check(0, slot)
        cdef LedgerSlot *s = &self.ledger.slots[slot]
        return {"memory": [s.used[i] for i in range(self.devices)], "calls": s.calls, "answers": s.answers}

    def charge(self, int slot, int device, uint64_t size) -> bool:
        self._check(device, slot)
        return ledger_charge(self.ledger, slot, device, size)

    def give_back(self, int slot, int device, uint64_t size) -> None:
        self._check(device, slot)
        ledger_return(self.ledger, slot, device, size)

    def clear(self, int slot) -> None:
        """Strikes out a session that is gone."""
        self._check(0, slot)
        ledger_clear(self.ledger, slot)

    def _check(self, int device, int slot) -> None:
        if not (0 <= device < LEDGER_DEVICES and 0 <= slot < LEDGER_SLOTS):
            raise IndexError(f"no device {device} or slot {slot}")
