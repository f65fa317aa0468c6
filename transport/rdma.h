/* rdma.h: one end of the rdma carrier, shared by its source files only: rdma_send.c sends, rdma.c
 * receives and sleeps (both hot), rdma_bulk.c moves bulk messages, rdma_stage.c those whose memory
 * is not registered, rdma_memory.c registers memory, rdma_port.c finds the device, rdma_setup.c
 * makes, connects and frees. What travels: rdma_wire.h.
 *
 * `out` belongs to whoever holds the channel's send lock, `in` to the reading thread, but for the
 * words marked shared; `pump_lock` is held for a moment by whoever polls the receiving side.
 * Must not know: records' meaning. */
#ifndef REMORA_RDMA_H
#define REMORA_RDMA_H

#include "carrier.h"
#include "rdma_wire.h"
#include "tuning.h"
#include "verbs.h"

/* Work requests of one batch: of parcels, each up to two, behind those that were held back. */
#define RM_RDMA_WRS (2 * RM_PARCELS_MAX + RM_RDMA_CORK)

/* Bulk messages that can be announced and not read yet: those of both windows. A power of two. */
#define RM_RDMA_LENT 256u

typedef struct rm_region { /* registered memory */
  uintptr_t at;
  size_t n;
  struct ibv_mr *mr;
  uint32_t lkey, rkey; /* its own: at the channel's end it may go before the last who uses it */
  bool writable;
  uint32_t uses; /* messages under way from it or to it */
  struct rm_region *next_gone;
} rm_region;

typedef struct rm_stage { /* RM_RDMA_STAGE pieces of RM_BULK_MAX, used in turn */
  uint8_t *at;
  struct ibv_mr *mr; /* NULL: not registered */
  uint32_t taken;    /* pieces, counted from the start */
} rm_stage;

typedef struct rm_rdma_read { /* a bulk message being read from the peer */
  void *where;
  uint32_t n;
  uint8_t *staged;   /* or NULL: it goes to where directly, */
  rm_region *region; /* which lies there */
  bool prompt;
} rm_rdma_read;

typedef struct rm_rdma {
  rm_link base;
  const rm_verbs *verbs;
  int fd; /* the lifeline */
  uint8_t port, gid_index;
  rm_rdma_end mine, theirs;
  uint32_t inline_max, depth; /* of the ring pair's sending queue */
  struct ibv_context *context;
  struct ibv_pd *pd;
  struct ibv_comp_channel *events;
  struct ibv_cq *out_cq, *in_cq; /* the ring pair's sends; its receives and all reads */
  struct ibv_qp *ring_qp, *bulk_qp;
  struct ibv_mr *own_mr, *peer_mr; /* memory that only this side writes; that the peer writes */
  size_t own_bytes, peer_bytes;
  uint8_t *landing, *box_in, *box_out;

  struct rm_rdma_out {
    rm_parcel rest[RM_PARCELS_MAX]; /* what did not go */
    unsigned rest_count;
    rm_credit credit;                  /* to go with it */
    rm_credit told;                    /* as the peer knows it */
    uint32_t told_taken, told_fetched; /* shared */
    uint64_t ring_at;                  /* records sent */
    uint32_t count;                    /* immediates sent; shared */
    uint32_t bulks[2];
    uint32_t announced;            /* bulk messages for the peer to read; shared */
    uint64_t announced_all;        /* the same, without wrapping */
    rm_region *lent[RM_RDMA_LENT]; /* of the k-th announced, at k mod its length; shared */
    rm_stage stage;
    uint32_t stage_until[RM_RDMA_STAGE]; /* messages read by when a piece is free again */
    uint64_t wrs, wrs_done, wrs_signalled;
    unsigned wr_count;
    struct ibv_send_wr wr[RM_RDMA_WRS];
    struct ibv_sge sge[RM_RDMA_WRS];
    uint64_t posts, signals; /* doorbells, completions asked for */
    bool bye;
  } out;

  uint32_t peer_taken, peer_fetched; /* what the peer said; shared */
  uint32_t turn, turn_sleepers;      /* futex: changes when a sender may have room again; shared */
  uint32_t stuck_turn;               /* turn when a sender last had none; shared */

  uint32_t pump_lock;
  uint32_t armed;          /* a completion event may come; shared */
  uint32_t failed;         /* status of the first failed work request; shared */
  uint32_t gone, stopping; /* the lifeline ended; this side ended it; shared */
  uint32_t drained;        /* the bulk pair's queue has come to its end; shared */
  uint32_t finished;       /* nothing more will be sent; shared */
  uint64_t gone_ms;        /* when */
  uint32_t taken, fetched; /* immediates and bulk messages taken in, to be told; shared */
  uint64_t reads_posted, reads_landed; /* shared */

  struct rm_rdma_in {
    struct {
      uint32_t imm, n;
    } held[RM_RDMA_RECEIVES];         /* immediates polled, not handled yet */
    uint32_t polled, handled, posted; /* polled: shared */
    uint32_t seen;                    /* polled when it was last looked at; shared */
    uint64_t reads_done;              /* completed, in the order of posting; shared */
    rm_credit credit;
    uint64_t ring_at;
    uint32_t bulks[2];
    rm_notice notice; /* the one at hand, */
    bool looked;      /* if it has been looked at: it may have to wait */
    bool begun;       /* the message at hand has been announced to the channel: it goes to where */
    void *where;
    rm_rdma_read reads[RM_RDMA_READS];
    unsigned read_count; /* to be posted with one doorbell */
    struct ibv_send_wr read_wr[RM_RDMA_READS];
    struct ibv_sge read_sge[RM_RDMA_READS];
    rm_stage stage;
    uint32_t stage_done; /* pieces given back */
    struct ibv_recv_wr receives[RM_RDMA_REPOST];
  } in;

  pthread_mutex_t region_lock;
  rm_region **regions; /* by address, without overlaps */
  rm_region *gone_regions;
  uint32_t region_count, region_room;
} rm_rdma;

/* rdma.c */
extern const rm_link_ops rm_rdma_ops;
/* Posts receives, all at first. false: the device failed. */
bool rm_rdma_receives(rm_rdma *r, uint32_t count);
/* Takes in completions. Any thread. Is there something that was not looked at yet? */
bool rm_rdma_pump(rm_rdma *r);
/* The peer is to be told what has been taken in and read. */
void rm_rdma_tell(rm_rdma *r, rm_channel *ch);

/* rdma_bulk.c: all -EAGAIN when there is no room now, -errno, or 0 */
int rm_rdma_bulk_out(rm_rdma *r, const rm_parcel *parcel);
/* A notice of a bulk message: 1 handled, 0 not yet, -1 the channel has ended. */
int rm_rdma_bulk_in(rm_rdma *r, rm_channel *ch, const rm_notice *notice);
/* wr_id of the last request of the bulk pair. */
#define RM_RDMA_LAST UINT64_MAX
/* No read lands any more, and the peer reads no more, when it returns. Any thread, once. */
void rm_rdma_end_reads(rm_rdma *r);
/* Rings for the reads that notices asked for. */
void rm_rdma_post_reads(rm_rdma *r);
/* Hands in what has been read: bytes; -1: the channel has ended. */
long rm_rdma_land(rm_rdma *r, rm_channel *ch);

/* rdma_send.c: as rm_link_ops */
int rm_rdma_send(rm_link *link, const rm_parcel *parcels, unsigned count, rm_credit credit);
int rm_rdma_resume(rm_link *link);
/* Polls the sends: keeps what failed first. */
void rm_rdma_retire(rm_rdma *r);
/* Sent and answered only when a while has passed in silence. */
static inline bool rm_rdma_is_ping(uint32_t note) {
  return note == RM_NOTE_PING || note == RM_NOTE_PONG;
}

/* rdma_send.c, for rdma_bulk.c: adds a notice, or a plain WRITE, to the batch. */
rm_notice *rm_rdma_notice(rm_rdma *r, uint8_t kind);
void rm_rdma_add_notice(rm_rdma *r, uint32_t payload);
void rm_rdma_add_write(rm_rdma *r, const void *from, uint32_t n, uint64_t to, uint32_t key);

/* rdma_stage.c */
/* 0 or -errno. */
int rm_rdma_make_stages(rm_rdma *r);
/* A piece to send from, or to read into: 0, -EAGAIN while all are in use, -errno. */
int rm_rdma_stage_out(rm_rdma *r, uint8_t **at);
int rm_rdma_stage_in(rm_rdma *r, uint8_t **at);
/* The channel is silent: what is not in use may go. */
void rm_rdma_rest_out(rm_rdma *r);
void rm_rdma_rest_in(rm_rdma *r);
void rm_rdma_free_stages(rm_rdma *r);

/* rdma_memory.c */
int rm_rdma_memory(rm_link *link, rm_channel *ch, void *at, size_t n, bool on);
int rm_rdma_dmabuf(rm_link *link, uint64_t at, size_t n, int fd, uint64_t offset);
bool rm_rdma_moves_alone(rm_link *link, uint64_t at, size_t n);
/* The registered range that holds all n bytes, for one message more; NULL: there is none. */
rm_region *rm_rdma_use(rm_rdma *r, const void *at, size_t n, bool writes);
void rm_rdma_used(rm_region *region);
void rm_rdma_forget_memory(rm_rdma *r);

/* rdma_port.c: opens the device whose port has the socket's own address. false: why is told. */
bool rm_rdma_find_port(rm_rdma *r, rm_carrying *c);

/* rdma_setup.c */
/* Fresh memory; NULL: there is none. */
uint8_t *rm_rdma_map(size_t bytes);
void rm_rdma_free(rm_link *link, bool forked);

#endif
