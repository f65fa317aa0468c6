/* jobs.c: see jobs.h. */
#include "jobs.h"

static __thread bool in_job, told; /* of this thread */

static void *work(void *arg) {
  Jobs *jobs = arg;
  pthread_mutex_lock(&jobs->lock);
  while (!jobs->ended) {
    Job *job = jobs->first;
    if (!job) {
      jobs->idle++;
      pthread_cond_wait(&jobs->more, &jobs->lock);
      jobs->idle--;
      continue;
    }
    jobs->first = job->next;
    if (!jobs->first) jobs->end = &jobs->first;
    if (jobs->queued-- >= JOBS_QUEUED) pthread_cond_broadcast(&jobs->fewer);
    pthread_mutex_unlock(&jobs->lock);
    in_job = true;
    job->run(jobs->session, job);
    pthread_mutex_lock(&jobs->lock);
    if (told) jobs->told--;
    in_job = told = false;
  }
  jobs->threads--;
  pthread_mutex_unlock(&jobs->lock);
  return NULL;
}

/* Called with the lock held. */
static void add_thread(Jobs *jobs) {
  pthread_t thread;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attr, JOBS_STACK);
  if (pthread_create(&thread, &attr, work, jobs) == 0) jobs->threads++;
  pthread_attr_destroy(&attr);
}

void jobs_init(Jobs *jobs, void *session) {
  *jobs = (Jobs){.session = session};
  jobs->end = &jobs->first;
  pthread_mutex_init(&jobs->lock, NULL);
  pthread_cond_init(&jobs->more, NULL);
  pthread_cond_init(&jobs->fewer, NULL);
}

/* Called with the lock held: a job has been queued. */
static void queued(Jobs *jobs, uint32_t limit) {
  jobs->queued++;
  if (jobs->idle < jobs->queued && jobs->threads < limit) add_thread(jobs);
  pthread_cond_signal(&jobs->more);
}

void jobs_push(Jobs *jobs, Job *job) {
  job->next = NULL;
  pthread_mutex_lock(&jobs->lock);
  while (jobs->queued >= JOBS_QUEUED && !jobs->ended) pthread_cond_wait(&jobs->fewer, &jobs->lock);
  *jobs->end = job;
  jobs->end = &job->next;
  queued(jobs, JOBS_THREADS);
  pthread_mutex_unlock(&jobs->lock);
}

void jobs_push_first(Jobs *jobs, Job *job) {
  pthread_mutex_lock(&jobs->lock);
  job->next = jobs->first;
  if (!jobs->first) jobs->end = &job->next;
  jobs->first = job;
  queued(jobs, JOBS_THREADS + JOBS_SPARE);
  pthread_mutex_unlock(&jobs->lock);
}

bool jobs_told(Jobs *jobs) {
  if (!in_job || told) return in_job;
  pthread_mutex_lock(&jobs->lock);
  told = true;
  jobs->told++;
  pthread_mutex_unlock(&jobs->lock);
  return true;
}

bool jobs_rest(Jobs *jobs) {
  pthread_mutex_lock(&jobs->lock);
  bool rest = !jobs->queued && jobs->idle + jobs->told == jobs->threads;
  pthread_mutex_unlock(&jobs->lock);
  return rest;
}

void jobs_end(Jobs *jobs) {
  pthread_mutex_lock(&jobs->lock);
  jobs->ended = true;
  pthread_cond_broadcast(&jobs->more);
  pthread_cond_broadcast(&jobs->fewer);
  pthread_mutex_unlock(&jobs->lock);
}
