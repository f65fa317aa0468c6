/* shm.h: the carrier between two processes of one host: frames in rings of shared memory, bulk
 * messages copied once where one end shares the memory that they go to or come from.
 *
 * An area (an anonymous file that can't shrink) holds a pipe for each direction: a byte stream of
 * frames (frame.h). A side copies what it reads out of the stream before it looks at it, and checks
 * positions against its own: the peer can write anything into the area at any time.
 *
 * Sleeping: a side that finds nothing raises its flag in the area, looks again, and polls its bell
 * (an eventfd) and the lifeline, the TCP connection, which ends with the peer.
 *
 * Placed bulk messages: a side may share files behind its memory (rm_share). A sender whose bytes
 * lie in one says where (PLACED), and the receiver copies; to a peer that shares files it sends a
 * question (PLACED, RM_PLACED_ASKS), the receiver names the place, the sender copies there. If
 * there is no such place, or the file can't be mapped, the bytes follow in the stream (LANDED).
 * A window that the receiver has mapped stays mapped: bytes from there are lent (link.h), the
 * sender goes on meanwhile.
 * Must not know: records, threads. */
#ifndef REMORA_SHM_H
#define REMORA_SHM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "carrier.h"
#include "frames.h"
#include "stream.h"

#define RM_SHM_LINE _Alignas(64)

/* Each line is written by one side only, but for the flags, which the waker takes back. */
typedef struct rm_shm_pipe {
  RM_SHM_LINE uint64_t head; /* bytes written to the stream */
  uint32_t cpu;              /* where the writer last ran */
  RM_SHM_LINE uint64_t tail; /* bytes read */
  RM_SHM_LINE uint32_t reader_sleeps;
  uint32_t writer_sleeps;
  RM_SHM_LINE uint32_t turn; /* of the last PLACED that the reader has answered: by copying, */
  uint32_t file;             /* or with the place for the bytes; RM_PLACED_ASKS: there is none */
  uint64_t offset;
  uint32_t shares; /* the reader shares files: it can be asked for places */
} rm_shm_pipe;

typedef struct rm_shm_area {
  uint32_t attached;    /* the client has mapped it: RM_SHM_ATTACHED */
  rm_shm_pipe pipes[2]; /* to the server, to the client */
} rm_shm_area;

#define RM_SHM_VERSION 2u
#define RM_SHM_ATTACHED 0x53485231u
#define RM_SHM_FRONT 4096u /* where the streams start */
#define RM_SHM_BYTES (RM_SHM_FRONT + 2 * RM_SHM_STREAM)
_Static_assert(sizeof(rm_shm_area) <= RM_SHM_FRONT, "the area's front is a page");

/* Descriptors of one end. */
typedef struct rm_shm_fds {
  int area, files;          /* files: a socket over which shared files come */
  int my_reader, my_writer; /* bells: wake this side's reader and writer */
  int peer_reader, peer_writer;
} rm_shm_fds;

/* ---- files shared with the peer, or by it (shm_files.c) */

#define RM_SHM_FILES 16u
#define RM_SHM_WINDOW ((uint64_t)1 << 30) /* of a file, mapped at once */
#define RM_SHM_WINDOWS 1024u
/* Windows start at a multiple of this: a huge page where there is one. */
#define RM_SHM_HUGE ((uint64_t)2 << 20)

typedef struct rm_shm_region { /* memory of this side that the peer can reach */
  uint64_t at, n, offset;
  uint32_t file;
} rm_shm_region;

typedef struct rm_shm_file {
  int fd; /* the peer's file; -1: it has not come yet */
  uint64_t bytes, dev, ino;
  uint8_t **windows;
  uint8_t
      reached[RM_SHM_WINDOWS / 8]; /* bits: windows of this side's file that the peer has mapped */
} rm_shm_file;

typedef struct rm_shm_files {
  pthread_mutex_t lock;
  int socket;
  rm_shm_region *regions;
  uint32_t region_count, region_room;
  rm_shm_file mine[RM_SHM_FILES], theirs[RM_SHM_FILES];
  uint32_t mine_count;
} rm_shm_files;

void rm_shm_files_open(rm_shm_files *files, int socket);
void rm_shm_files_close(rm_shm_files *files, bool forked);
/* Shares [at, at + n), which is bytes from offset on of the file; fd < 0: no longer. 0 or -errno.
 */
int rm_shm_files_share(rm_shm_files *files, void *at, size_t n, int fd, uint64_t offset);
/* Where [at, at + n) lies in a shared file; false: nowhere. */
bool rm_shm_files_find(rm_shm_files *files, const void *at, size_t n, uint32_t *file,
                       uint64_t *offset);
/* The peer has copied from this place of a file of this side: it will be able to from then on. */
void rm_shm_files_reach(rm_shm_files *files, uint32_t file, uint64_t offset, size_t n);
bool rm_shm_files_reached(const rm_shm_files *files, uint32_t file, uint64_t offset, size_t n);
/* Copies n bytes at this place of the peer's file to, or from, memory of this side. false: it can't
 * be mapped, or there is no such place. */
bool rm_shm_files_copy(rm_shm_files *files, uint32_t file, uint64_t offset, size_t n, void *to,
                       const void *from);

/* ---- the link (shm.c) */

typedef struct rm_shm {
  rm_link base;
  rm_shm_fds fds;
  int lifeline;
  rm_shm_area *area;
  rm_shm_pipe *out, *in;
  uint8_t *out_stream, *in_stream;
  rm_shm_files files;
  uint32_t over;             /* the lifeline has ended, or this side has stopped */
  uint32_t reading, writing; /* threads of this side that sleep for the one or the other */
  RM_SHM_LINE uint64_t head, head_told; /* written, published: this side's own counts */
  uint64_t tail_seen;
  uint64_t turn; /* of the last PLACED sent */
  uint32_t stage;
  rm_frames frames;
  rm_parcel bulk; /* under way as PLACED */
  rm_credit credit;
  rm_placed place;
  RM_SHM_LINE uint64_t tail, tail_told;
  uint64_t placed; /* bytes taken without the stream, of this receive */
  bool took_lent;  /* in this receive: the peer is told at its end */
  rm_channel *channel;
  rm_stream stream;
} rm_shm;

/* Takes over the descriptors and the mapping; NULL: memory is short, and they are released. */
rm_link *rm_link_shm(const rm_shm_fds *fds, int lifeline, rm_shm_area *area, bool server);

#endif
