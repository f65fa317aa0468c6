/* session.h: the one session of this process with its engine: how it starts, what it was granted,
 * how it ends.
 *
 * States only move forward, but for a fork: the child of an attached process is RM_FORKED and every
 * call there fails without touching a lock, the channel or a file.
 * Must not know: what any call means. */
#ifndef REMORA_SHIM_SESSION_H
#define REMORA_SHIM_SESSION_H

#include "objects.h"
#include "../../transport/channel.h"

#define RM_DEVICES_MAX 63     /* wire contexts 1..63 are primary ones */
#define RM_ATTRIBUTES_MAX 256 /* device attributes kept */

enum rm_state { RM_NEW, RM_FAILED, RM_ATTACHED, RM_ENDED, RM_EXITING, RM_FORKED };

typedef struct rm_device {
  char name[256];
  uint8_t uuid[16];
  uint64_t total_mem;
  int32_t attributes[RM_ATTRIBUTES_MAX];
  uint32_t attribute_count;
  uint64_t va_base, va_bytes; /* where its memory is, in both processes */
  uint16_t wire;              /* its place in the grant, from 0 */
} rm_device;

typedef struct rm_session_facts {
  rm_channel *channel;
  rm_device devices[RM_DEVICES_MAX];
  uint32_t device_count; /* after CUDA_VISIBLE_DEVICES */
  int32_t driver_version;
  int32_t priority_least, priority_greatest;
  uint64_t va_base, va_bytes;
  char host[256]; /* HOST:PORT, for messages */
} rm_session_facts;

/* call.c: the reader's door. */
void rm_call_on_record(void *user, const rm_record *record);

extern rm_session_facts rm_session;
extern int rm_session_state; /* enum rm_state; read with rm_attached() */

static inline bool rm_attached(void) {
  return __atomic_load_n(&rm_session_state, __ATOMIC_ACQUIRE) == RM_ATTACHED;
}

/* Attaches once (server and ticket from the environment). CUDA_SUCCESS, or why not: the same answer
 * every time, told once on stderr. */
CUresult rm_attach(void);
/* CUDA_SUCCESS while the session works and cuInit has succeeded; else what a call must return. */
CUresult rm_ready(void);
void rm_set_initialised(void);
/* What calls return now that the session doesn't work, when nothing of it touches the program's
 * memory any more. */
CUresult rm_session_failure(void);
/* The device that the program calls `device`, NULL if there is none. */
rm_device *rm_device_at(CUdevice device);
/* Whether an address lies in the range that was reserved for device memory. */
static inline bool rm_is_device_address(uint64_t address) {
  return address - rm_session.va_base < rm_session.va_bytes;
}

/* Keeps a context-corrupting failure with its context. Returns the status. */
CUresult rm_note_status(rm_context *context, int32_t status);

/* The engine, or memory, failed in a way that would leave calls waiting for ever: ends the session.
 */
void rm_session_break(const char *why);

/* One line on stderr: "remora: HOST:PORT: ...". */
void rm_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
