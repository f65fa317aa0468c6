/* call.c: from a stub to the ring and back: begin, post, wait, and the reader that matches replies.
 */
#include <stdlib.h>
#include <string.h>

#include "callback.h"
#include "printed.h"
#include "pending.h"
#include "progress.h"
#include "session.h"
#include "shared.h"
#include "stats.h"
#include "thread.h"

#define ZEROED 256u /* of a body: request structs are smaller; raw bytes are overwritten anyway */

/* Failures that CUDA says corrupt the context: every later call on it returns them. */
static bool is_sticky(int32_t status) {
  return status == CUDA_ERROR_ILLEGAL_ADDRESS || status == CUDA_ERROR_LAUNCH_TIMEOUT ||
         status == CUDA_ERROR_ASSERT || status == CUDA_ERROR_HARDWARE_STACK_ERROR ||
         (status >= CUDA_ERROR_ILLEGAL_INSTRUCTION && status <= CUDA_ERROR_LAUNCH_FAILED) ||
         status == CUDA_ERROR_EXTERNAL_DEVICE || status == CUDA_ERROR_CONTAINED ||
         status == CUDA_ERROR_ECC_UNCORRECTABLE;
}

CUresult rm_note_status(rm_context *context, int32_t status) {
  if (context && is_sticky(status)) __atomic_store_n(&context->sticky, status, __ATOMIC_RELAXED);
  return (CUresult)status;
}

/* The channel has ended, or the record would be larger than it carries. */
static CUresult no_record(void) {
  return rm_channel_error(rm_session.channel, NULL) ? rm_session_failure()
                                                    : CUDA_ERROR_INVALID_VALUE;
}

CUresult rm_call_begin_on(rm_call *call, rm_context *context, uint16_t op, uint32_t body_bytes) {
  CUresult status = rm_ready();
  if (status) return status;
  if (context && !context->object.live) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  int32_t sticky = context ? __atomic_load_n(&context->sticky, __ATOMIC_RELAXED) : 0;
  if (sticky) return (CUresult)sticky;
  rm_thread *thread = rm_thread_self();
  if (!thread) return CUDA_ERROR_OUT_OF_MEMORY;
  if (thread->in_callback) return CUDA_ERROR_NOT_PERMITTED;
  rm_record *record = rm_begin(rm_session.channel, (uint32_t)sizeof *record + body_bytes);
  if (!record) return no_record();
  record->op = op;
  record->ctx = context ? context->wire : 0;
  record->thread = thread->id;
  thread->told = true;
  memset(record + 1, 0, body_bytes < ZEROED ? body_bytes : ZEROED);
  *call = (rm_call){.record = record, .body = record + 1, .thread = thread, .context = context};
  return CUDA_SUCCESS;
}

CUresult rm_call_begin(rm_call *call, uint16_t op, uint32_t body_bytes) {
  CUresult status = rm_ready();
  if (status) return status;
  rm_context *context = rm_context_current();
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  if (rm_shared_any() && rm_shared_may_fill(op)) status = rm_shared_flush(context, false);
  return status ? status : rm_call_begin_on(call, context, op, body_bytes);
}

CUresult rm_call_post(rm_call *call) {
  bool fills = rm_shared_any() && rm_shared_fills(call->record);
  rm_progress_stamp();
  rm_stats_add_locked(&rm_stats()->posted, 1);
  rm_commit(rm_session.channel);
  return fills ? rm_shared_settle(call->context, true) : CUDA_SUCCESS;
}

CUresult rm_call_post_unsent(rm_call *call) {
  (void)call;
  rm_progress_stamp();
  rm_stats_add_locked(&rm_stats()->posted, 1);
  rm_commit_unsent(rm_session.channel);
  return CUDA_SUCCESS;
}

CUresult rm_call_post_bulk(rm_call *call, const void *bytes, size_t n) {
  (void)call;
  rm_progress_stamp();
  rm_stats_add_locked(&rm_stats()->posted, 1);
  rm_commit_with_bulk(rm_session.channel);
  return rm_bulk_in_order(rm_session.channel, 0, bytes, n, true) ? rm_session_failure()
                                                                 : CUDA_SUCCESS;
}

/* ---- waiting */

static void arm(rm_call *call, void *answer, uint32_t bytes) {
  rm_reply_slot *reply = &call->thread->reply;
  call->record->flags |= RM_F_WAITS;
  reply->seq = call->record->seq;
  reply->waiter = (rm_waiter){0};
  reply->answer = answer;
  reply->answer_bytes = bytes;
  reply->extra_bytes = 0;
  __atomic_store_n(&reply->state, RM_REPLY_ARMED, __ATOMIC_RELEASE);
}

/* After a wait that failed: the reader must not come to these buffers any more. */
static void disarm(rm_reply_slot *reply) {
  uint32_t armed = RM_REPLY_ARMED;
  if (__atomic_compare_exchange_n(&reply->state, &armed, RM_REPLY_IDLE, false, __ATOMIC_ACQ_REL,
                                  __ATOMIC_ACQUIRE))
    return;
  while (__atomic_load_n(&reply->state, __ATOMIC_ACQUIRE) == RM_REPLY_FILLING)
    __builtin_ia32_pause();
}

static CUresult await(rm_call *call) {
  rm_reply_slot *reply = &call->thread->reply;
  uint64_t start = rm_stats_clock();
  rm_progress_stamp();
  rm_commit_unsent(rm_session.channel);
  int error = rm_wait(rm_session.channel, &reply->waiter, -1);
  if (start) rm_stats_waited(start);
  rm_printed_write();
  if (error) {
    disarm(reply);
    if (reply->allocate) free(reply->extra);
    reply->extra = NULL;
    return rm_session_failure();
  }
  __atomic_store_n(&reply->state, RM_REPLY_IDLE, __ATOMIC_RELAXED);
  return rm_note_status(call->context, reply->status);
}

CUresult rm_call_wait_bytes(rm_call *call, void *answer, uint32_t bytes, void *buf, uint32_t cap,
                            uint32_t *got) {
  rm_reply_slot *reply = &call->thread->reply;
  reply->allocate = false;
  reply->extra = buf;
  reply->extra_capacity = cap;
  arm(call, answer, bytes);
  CUresult status = await(call);
  if (got) *got = reply->extra_bytes;
  return status;
}

CUresult rm_call_wait(rm_call *call, void *answer, uint32_t bytes) {
  return rm_call_wait_bytes(call, answer, bytes, NULL, 0, NULL);
}

CUresult rm_call_wait_alloc(rm_call *call, void *answer, uint32_t bytes, void **buf,
                            uint32_t *got) {
  rm_reply_slot *reply = &call->thread->reply;
  reply->allocate = true;
  reply->extra = NULL;
  arm(call, answer, bytes);
  CUresult status = await(call);
  *buf = reply->extra;
  *got = reply->extra_bytes;
  if (status) {
    free(*buf);
    *buf = NULL;
    *got = 0;
  }
  return status;
}

/* ---- the reading thread */

static bool take_extra(rm_reply_slot *reply, const char *bytes, uint32_t n) {
  if (reply->allocate && n) reply->extra = malloc(n);
  if (n && (!reply->extra || (!reply->allocate && n > reply->extra_capacity))) return false;
  if (n) memcpy(reply->extra, bytes, n);
  reply->extra_bytes = n;
  return true;
}

/* A failing reply carries its status only; a good one carries the whole answer. */
static int32_t fill(rm_reply_slot *reply, const rm_record *record) {
  const rm_reply *head = (const rm_reply *)(record + 1);
  uint32_t n = record->size - (uint32_t)(sizeof *record + sizeof *head);
  if (head->status) return head->status;
  if (n < reply->answer_bytes) return CUDA_ERROR_OPERATING_SYSTEM;
  const char *bytes = (const char *)(head + 1);
  if (reply->answer_bytes) memcpy(reply->answer, bytes, reply->answer_bytes);
  return take_extra(reply, bytes + reply->answer_bytes, n - reply->answer_bytes)
             ? CUDA_SUCCESS
             : CUDA_ERROR_OPERATING_SYSTEM;
}

static void on_reply(const rm_record *record) {
  rm_thread *thread = rm_thread_at(record->thread);
  uint32_t armed = RM_REPLY_ARMED;
  if (!thread) return;
  rm_reply_slot *reply = &thread->reply;
  if (reply->seq != record->seq ||
      !__atomic_compare_exchange_n(&reply->state, &armed, RM_REPLY_FILLING, false, __ATOMIC_ACQ_REL,
                                   __ATOMIC_RELAXED))
    return;
  reply->status = fill(reply, record);
  __atomic_store_n(&reply->state, RM_REPLY_HERE, __ATOMIC_RELEASE);
  rm_wake(rm_session.channel, &reply->waiter);
}

static bool holds(const rm_record *record, size_t body) {
  return record->size >= sizeof *record + body;
}

void rm_call_on_record(void *user, const rm_record *record) {
  (void)user;
  const void *body = record + 1;
  if (record->op == RM_OP_REPLY && holds(record, sizeof(rm_reply)))
    on_reply(record);
  else if (record->op == RM_OP_DONE && holds(record, sizeof(rm_done)))
    rm_pending_done(body);
  else if (record->op == RM_OP_CALLBACK && holds(record, sizeof(rm_callback)))
    rm_callback_enqueue(body);
  else if (record->op == RM_OP_PULL && holds(record, sizeof(rm_pull)))
    rm_pull_enqueue(body);
  else if (record->op == RM_OP_PRINT)
    rm_printed_keep(record->flags & RM_F_ERROR, body, record->size - (uint32_t)sizeof *record);
  else
    rm_session_break("a record that is unknown or cut short");
}
