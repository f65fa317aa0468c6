"""The C side of a session (session.h and what it holds) and the channel, for the engine's Cython parts."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from cuda.bindings.cydriver cimport CUcontext, CUdevice, CUevent, CUfunction, CUkernel, CUlibrary, CUmodule, CUstream
from remora.engine.generated.records cimport rm_record

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_rwlock_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_rwlock_rdlock(pthread_rwlock_t *)
    int pthread_rwlock_wrlock(pthread_rwlock_t *)
    int pthread_rwlock_unlock(pthread_rwlock_t *)
    int pthread_cond_init(pthread_cond_t *, void *)
    int pthread_cond_wait(pthread_cond_t *, pthread_mutex_t *)
    int pthread_cond_broadcast(pthread_cond_t *)

cdef extern from "transport/channel.h" nogil:
    enum: RM_BULK_MAX
    enum: RM_ETIMEOUT
    enum: RM_EPROTO
    enum: RM_EPEER
    enum: RM_ESILENT
    enum: RM_ECLOSED
    ctypedef struct rm_channel:
        pass
    ctypedef struct rm_options:
        uint32_t ring_bytes
        uint32_t record_max
        uint32_t bulk_window
        uint32_t silence_ms
        uint32_t spin_us
        bint service
        bint bulk_overlaps
        const char *peer
    ctypedef struct rm_events:
        void *(*on_bulk)(void *user, uint32_t tag, size_t n) noexcept nogil
        void (*on_bulk_done)(void *user, uint32_t tag, void *where, size_t n) noexcept nogil
        void (*on_urgent)(void *user, const void *bytes, size_t n) noexcept nogil
        void (*on_end)(void *user, int error, const char *why) noexcept nogil
    void rm_channel_close(rm_channel *ch, int drain_ms)
    void rm_channel_end(rm_channel *ch, const char *why)
    int rm_channel_error(rm_channel *ch, const char **why)
    rm_record *rm_begin(rm_channel *ch, uint32_t size)
    void rm_commit(rm_channel *ch)
    void rm_commit_unsent(rm_channel *ch)
    int rm_flush(rm_channel *ch)
    int rm_bulk(rm_channel *ch, uint32_t tag, const void *bytes, size_t n)
    int rm_bulk_lend(rm_channel *ch, uint32_t tag, const void *bytes, size_t n, bint more)
    int rm_bulk_returned(rm_channel *ch)
    int rm_register(rm_channel *ch, void *at, size_t n)
    bint rm_takes_dmabuf(rm_channel *ch)
    int rm_register_dmabuf(rm_channel *ch, uint64_t at, size_t n, int fd, uint64_t offset)
    bint rm_moves_alone(rm_channel *ch, uint64_t at, size_t n)
    void rm_deregister(rm_channel *ch, void *at, size_t n)
    void rm_bulk_release(rm_channel *ch, uint32_t tag)
    ctypedef struct rm_preceding:
        const rm_record *record
        uint64_t start "from"
        uint64_t to
        bint alone
    rm_preceding rm_bulk_preceding(rm_channel *ch)
    void rm_bulk_needed(rm_channel *ch)
    ctypedef struct rm_traffic:
        uint64_t bulk_direct
        uint64_t bulk_copied
    void rm_channel_stats(rm_channel *ch, rm_traffic *out)
    void rm_expect(rm_channel *ch, int change)
    int rm_share(rm_channel *ch, void *at, size_t n, int fd, uint64_t offset)
    int rm_read_loop(rm_channel *ch)
    const rm_record *rm_next(rm_channel *ch, int timeout_ms, int *error)
    void rm_release(rm_channel *ch, const rm_record *record)

cdef extern from "engine/softgpu/visible.h" nogil:
    ctypedef struct sg_visible:
        size_t bytes
        bint (*rest)() noexcept nogil
        int (*file)(const void *at, size_t n, uint64_t *offset) noexcept nogil
        void (*listen)(void (*hear)(const char *text, size_t n) noexcept nogil) noexcept nogil

cdef extern from "engine/session.h" nogil:
    enum: MAX_DEVICES
    enum: ITEMS_MAX
    enum: FIRST_MADE_CONTEXT
    enum: TABLE_LIMIT
    enum: ARENA_NO_ADDRESSES
    enum: ARENA_NO_MEMORY
    enum: ITEM_GIVE_BACK
    enum: ITEM_OUT
    enum: ITEM_LARGE_OUT
    enum: ITEM_MARK
    enum: ITEM_SYNC
    enum: ITEM_FREE
    enum: ITEM_GATE
    enum: GATE_CALLBACK
    enum: GATE_PULL
    enum: GATE_LARGE_OUT
    enum: GATE_NONE
    enum: STAGING_SLAB
    enum: LEDGER_SLOTS

    ctypedef struct Table:
        pass
    void *table_get(Table *t, uint64_t id)
    bint table_put(Table *t, uint64_t id, void *entry)
    void *table_take(Table *t, uint64_t id)
    uint64_t table_next(Table *t, uint64_t start)

    ctypedef struct LedgerSlot:
        uint64_t used[8]
        uint64_t calls
        uint64_t answers
    ctypedef struct Ledger:
        uint64_t quota[8]
        LedgerSlot slots[64]
    uint64_t ledger_used(Ledger *ledger, uint32_t device)
    bint ledger_charge(Ledger *ledger, uint32_t slot, uint32_t device, uint64_t bytes)
    void ledger_return(Ledger *ledger, uint32_t slot, uint32_t device, uint64_t bytes)

    ctypedef struct ArenaDriver:
        int32_t (*commit)(void *user, uint64_t at, uint64_t bytes, uint64_t *handle) noexcept nogil
        void (*release)(void *user, uint64_t at, uint64_t bytes, uint64_t handle) noexcept nogil
        void *user
    ctypedef struct Arena:
        uint64_t base
        uint64_t bytes
        uint64_t committed
    bint arena_init(Arena *arena, uint64_t base, uint64_t bytes, uint64_t granule, ArenaDriver driver)
    int32_t arena_alloc(Arena *arena, uint64_t bytes, uint32_t owner, uint64_t *ptr)
    uint64_t arena_size(const Arena *arena, uint64_t ptr)
    uint64_t arena_free(Arena *arena, uint64_t ptr)
    uint64_t arena_any(const Arena *arena, uint32_t owner)
    int32_t arena_each(
        const Arena *arena, int32_t (*each)(void *, uint64_t, uint64_t) noexcept nogil, void *user)
    bint arena_holds(const Arena *arena, uint64_t ptr, uint64_t bytes)

    ctypedef struct Piece:
        Piece *next
        uint8_t *bytes
        uint32_t size
        bint placed
    ctypedef struct Staging:
        rm_channel *channel
        uint8_t *slabs[16]
        uint32_t slab_count
    bint staging_init(Staging *staging, uint32_t window)
    void staging_share(Staging *staging)
    Piece *staging_land(Staging *staging)
    void staging_landed(Staging *staging, Piece *piece)
    void staging_credit(Staging *staging)
    bint staging_waits(Staging *staging)
    Piece *staging_payload(Staging *staging)
    Piece *staging_take(Staging *staging, bint wait)
    Piece *staging_extra(Staging *staging)
    void staging_put(Staging *staging, Piece *piece)
    void staging_end(Staging *staging)

    ctypedef struct Job:
        void (*run)(void *session, Job *job) noexcept nogil
    ctypedef struct Jobs:
        pass
    void jobs_init(Jobs *jobs, void *session)
    void jobs_push(Jobs *jobs, Job *job)
    void jobs_push_first(Jobs *jobs, Job *job)
    bint jobs_told(Jobs *jobs)
    bint jobs_rest(Jobs *jobs)
    void jobs_end(Jobs *jobs)

    ctypedef struct Gate:
        Job job
        uint64_t token
        uint64_t seq
        uint64_t at
        uint64_t pitch
        uint64_t width
        uint64_t rows
        Piece *piece
        uint32_t tag
        int32_t status
        uint16_t ctx
        uint8_t kind
        bint kept
        bint loose
    ctypedef struct Gates:
        pass
    void gates_init(Gates *gates, Jobs *jobs)
    Gate *gate_make(Gates *gates, uint8_t kind, uint64_t token)
    void gate_reached(void *gate) noexcept
    void gate_give_up(Gates *gates, uint64_t token, int32_t status)
    void gate_set_loose(Gate *gate, int32_t status)
    bint gate_answer(Gates *gates, uint64_t token)
    void gate_open(Gate *gate)
    void gate_expect(Gate *gate, Piece *piece)
    void *gate_room(Gates *gates, uint32_t tag, size_t n)
    void gate_landed(Gates *gates, uint32_t tag)
    bint gate_wait(Gate *gate)
    void gate_drop(Gate *gate)
    void gates_end(Gates *gates)

    ctypedef struct Item:
        Item *next
        uint64_t seq
        CUevent event
        uint64_t token
        rm_record call
        Piece *pieces
        Gate *gate
        int32_t status
        uint8_t kind
        bint told
    ctypedef struct Lane:
        Job job
        Lane *all
        Item *first
        Item *last
        CUstream stream
        uint16_t ctx
        bint draining
        bint orphaned
    ctypedef struct Context:
        CUcontext handle
        uint64_t serial
        uint32_t device
        int32_t deferred
        uint16_t id
        bint stray
        CUstream copier
        Lane *legacy
        Table threads
        CUevent *events
        uint32_t event_count
        uint32_t event_room
        CUevent fence
        uint64_t fences_passed
    ctypedef struct Stream:
        CUstream handle
        uint16_t ctx
        Lane *lane
        uint64_t fences_passed
    ctypedef struct Event:
        CUevent handle
        uint16_t ctx
        uint32_t users
        bint gone
    ctypedef struct Function:
        CUfunction handle
        CUkernel kernel
        void *owner
        uint32_t param_bytes
        uint32_t param_count
    ctypedef struct Module:
        CUmodule module
        CUlibrary library
        Function *functions
        uint32_t count
        uint32_t room
        uint16_t ctx
    ctypedef struct Range:
        uint64_t at
        uint64_t bytes
        void *owner
    ctypedef struct Device:
        Session *session
        CUdevice handle
        Arena arena
        uint32_t users
        pthread_mutex_t lock
        pthread_rwlock_t mapped
        rm_channel *channel
        bint refused
    ctypedef struct Session:
        rm_channel *channel
        char broken[160]
        Device devices[8]
        uint32_t device_count
        const sg_visible *visible
        uint64_t placed_to
        Ledger *ledger
        uint32_t ledger_slot
        Table contexts
        Table streams
        Table events
        Table modules
        Table functions
        pthread_mutex_t make_lock
        uint64_t serials
        uint64_t fences
        uint16_t fence_ctx
        Range *globals
        uint32_t global_count
        uint32_t global_room
        Lane *lanes
        uint64_t issued
        uint32_t items
        uint32_t told
        bint ended
        uint32_t outs
        uint32_t frees
        pthread_mutex_t lane_lock
        pthread_cond_t lane_moved
        Staging staging
        uint32_t slabs_pinned
        Piece *landing
        Piece *landing_last
        Gates gates
        Jobs jobs
        void *images
    uint64_t *current_serial()
    int mapped_init(pthread_rwlock_t *lock)
    void session_broken(Session *s, const char *format, ...)
