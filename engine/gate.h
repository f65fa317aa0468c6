/* gate.h: a host function that holds a stream until somebody opens it.
 *
 * When the stream gets there, the gate's job runs on a helper thread; the driver's callback thread
 * waits until the gate is opened (or the session ends). Must not know: what the job does. */
#ifndef REMORA_ENGINE_GATE_H
#define REMORA_ENGINE_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "jobs.h"
#include "staging.h"

#define GATES_MAX 65536u /* of one session at a time */

/* GATE_NONE: no stream stands at it, it only describes a large copy out. */
enum GateKind { GATE_CALLBACK, GATE_PULL, GATE_LARGE_OUT, GATE_NONE };

typedef struct Gate {
  Job job; /* pushed when the stream gets here */
  struct Gates *gates;
  struct Gate *next, **link;
  uint64_t token;
  uint64_t seq;                    /* of issue, among the session's items */
  uint64_t at, pitch, width, rows; /* device memory of a pull or a large copy out */
  Piece *piece;                    /* of a pull: where its next payload lands, */
  bool coming, landed;             /* and whether it is under way, or there */
  uint32_t tag;                    /* of a pull: its bulk messages */
  int32_t status;                  /* CUresult of the gate's job */
  uint16_t ctx;
  uint8_t kind;
  bool taken; /* the stream got there, or never will and somebody answers in its place */
  bool open;
  bool kept;  /* freed by whoever made it, not by the stream */
  bool loose; /* in no stream: freed as it opens */
} Gate;

typedef struct Gates {
  pthread_mutex_t lock;
  pthread_cond_t moved;
  Gate *all;
  Jobs *jobs;
  uint32_t count;
  uint32_t last_tag;
  bool ended;
} Gates;

void gates_init(Gates *gates, Jobs *jobs);
/* NULL: too many, or no memory. */
Gate *gate_make(Gates *gates, uint8_t kind, uint64_t token);
/* The host function (CUhostFn): userData is the gate. */
void gate_reached(void *gate);
/* The stream has failed and calls no host functions any more: runs the job of the gate of this
 * token in its place, with status, if the stream did not get there. */
void gate_give_up(Gates *gates, uint64_t token, int32_t status);
/* The gate could not be put on a stream: runs its job with status. */
void gate_set_loose(Gate *gate, int32_t status);
/* The peer's host function of this token returned: opens its gate, if there is one. */
bool gate_answer(Gates *gates, uint64_t token);
void gate_open(Gate *gate);
/* A pull is about to be sent: its payload of piece->size bytes goes to piece. */
void gate_expect(Gate *gate, Piece *piece);
/* For on_bulk: memory for n bytes under a tag; NULL: nobody asked for them. */
void *gate_room(Gates *gates, uint32_t tag, size_t n);
void gate_landed(Gates *gates, uint32_t tag);
/* Waits until the payload has landed; false: the session ended, and nothing lands there any more.
 */
bool gate_wait(Gate *gate);
/* Takes a gate that no stream will reach out of the list and frees it. */
void gate_drop(Gate *gate);
void gates_end(Gates *gates);

#endif
