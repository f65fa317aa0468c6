/* Events: marks in a queue's timeline, with the time when they were reached. */
#ifndef SG_EVENT_H
#define SG_EVENT_H
#include "queue.h"

/* Later work of the queue waits for the event's latest record. */
CUresult sg_event_make_wait(CUevent event, sg_queue *queue);
/* Destroys the context's events. */
void sg_events_forget(sg_context *context);
#endif
