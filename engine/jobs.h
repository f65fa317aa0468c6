/* jobs.h: work that may wait in the driver, done by threads made when none is idle.
 *
 * Must not know: what a job does. */
#ifndef REMORA_ENGINE_JOBS_H
#define REMORA_ENGINE_JOBS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define JOBS_THREADS 1024u /* most at a time: waits of as many streams */
#define JOBS_SPARE                                                                                 \
  64u /* more, for jobs that go first: what others wait for must never wait for them */
#define JOBS_STACK (512u << 10)
#define JOBS_QUEUED 4096u /* a client that queues more waits here, and nobody else does */

typedef struct Job {
  struct Job *next;
  void (*run)(void *session, struct Job *job); /* owns the job from then on */
} Job;

typedef struct Jobs {
  pthread_mutex_t lock;
  pthread_cond_t more, fewer;
  Job *first, **end;
  void *session;
  uint32_t threads, idle, queued;
  uint32_t told; /* threads whose jobs have told all they had to */
  bool ended;
} Jobs;

void jobs_init(Jobs *jobs, void *session);
/* Waits only while JOBS_QUEUED wait already; a job pushed after jobs_end is dropped. */
void jobs_push(Jobs *jobs, Job *job);
/* Ahead of all that wait; never waits. */
void jobs_push_first(Jobs *jobs, Job *job);
/* In a job: nobody notices what it does from now on but who waits for room. False outside jobs. */
bool jobs_told(Jobs *jobs);
/* Whether no job is queued, or under way but those that have told. */
bool jobs_rest(Jobs *jobs);
void jobs_end(Jobs *jobs);

#endif
