/* tuning.h: every knob of the transport, each with its reason.
 * Must not know: how the knobs are used. */
#ifndef REMORA_TUNING_H
#define REMORA_TUNING_H

/* Room for some 60,000 plain calls: more than a program posts while one batch is under way. */
#define RM_RING_BYTES (4u << 20)
#define RM_RING_MIN (4u << 10)
#define RM_RING_MAX (1u << 30) /* released positions travel as 32 bits */

/* The largest record is this part of the ring: a pad, a record and unreported credit always fit. */
#define RM_RECORD_SHARE 4u

/* Credit is reported unasked once this part of the ring or of the bulk window is free again. */
#define RM_CREDIT_SHARE 4u

/* 16 MiB of bulk data under way fill 100 Gbit/s at 1 ms. At most 127: counters travel as 8 bits. */
#define RM_BULK_WINDOW 16u
#define RM_BULK_WINDOW_MAX 127u

/* One frame of records: large enough to amortise a system call, small enough that an urgent
 * message or a credit, which go between frames, does not wait long. */
#define RM_BATCH_BYTES (256u << 10)

/* What one read takes in beyond the payload under way. Bytes read here are copied once more, which
 * with 32 KiB took 3 us of each MiB; 8 KiB are as much as one more read takes. */
#define RM_STAGING_BYTES (8u << 10)

/* Up to this size frames are copied together: copying is cheaper than a second iovec. */
#define RM_JOIN_BYTES 1024u

/* A peer that is not heard of for this long is dead; it is asked after a third of it. */
#define RM_SILENCE_MS 30000u
#define RM_SILENCE_MIN_MS 100u
#define RM_TICKS_PER_SILENCE 6u

/* Peers within this round trip get this congestion control, others the system's. bbr, the default
 * of many systems, paces by an estimate that small calls keep low: copies of 1 MiB on loopback took
 * 2.3 times as long as with cubic. Far away its patience with losses is worth more. */
#define RM_NEAR_US 1000u
#define RM_NEAR_CONGESTION "cubic"

/* A wait looks for its reply this long, yielding between looks, before it sleeps: waking a thread
 * on an idle processor takes longer than a whole round trip (8 against 74 us on loopback), and with
 * one processor a yield costs a tenth of a round trip. */
#define RM_SPIN_US 50u

/* A peer that has a processor of its own is looked for so often before the first yield: it answers
 * within 10 looks, and a yield and the question where it runs each took as long as one. */
#define RM_APART_LOOKS 32u

/* So many looks in vain between two looks at the clock. */
#define RM_SPIN_LOOKS 4u

/* After n looks in a row that were in vain, the next 2^n - 1 waits sleep at once; n at most this.
 * On one processor waits were seen to settle at 115 us, twice the looking, instead of 14. */
#define RM_SPIN_VAIN_MAX 3u

/* The flusher's nap between sends while posted calls keep coming: one wake per call would cost the
 * poster 15 times the call (measured: 1,040 against 69 ns with one processor, 310 against 57 with
 * two; 20 us was worse than 50). Waiting calls send for themselves and never wait for it. */
#define RM_NAP_US 50u
#define RM_TIMER_SLACK_NS 1000ul

/* After a waiter has read for itself the service thread leaves the reading to waiters until none
 * came for this long: each call would else wake two threads. Messages that someone expects
 * (rm_expect) are not delayed by it. */
#define RM_GRACE_US 1000u

/* Doubled each time that waiters came meanwhile, up to this: in the guest of the RDMA tests a wake
 * each millisecond, in both processes, cost every call 5.5 of 66 us. */
#define RM_GRACE_MAX_US 8000u

/* Urgent messages queued while the socket is full. */
#define RM_URGENT_SLOTS 64u

/* A sender that waits for room waits this long before it sees to it that someone reads meanwhile.
 */
#define RM_SOON_MS 1

/* Where no service thread reads (channels of tests and tools), a blocked sender looks this often
 * whether it has to read for itself. */
#define RM_UNSERVED_MS 10

/* Threads of the channel call shallow C code only. */
#define RM_THREAD_STACK (256u << 10)

/* How long a channel that ends waits for another thread's send before it says why it ends. */
#define RM_BYE_MS 50u

/* How long a close waits for the threads that are inside an ended channel. They leave at once, but
 * for one that a signal handler interrupted there: if that exits the program, the close is its own.
 */
#define RM_QUIET_MS 3000

/* How long what a dead connection still holds is waited for, when sending over it has failed. */
#define RM_READ_OUT_MS 1000u

/* rdma: a ring is registered, so all of it is locked; two of them, for each session. Room for 4,000
 * plain calls: a driver lets a program post some 1,000 before it waits. */
#define RM_RDMA_RING_BYTES (256u << 10)
/* Receives posted for the peer's immediates, and how many are posted anew at once. A batch
 * takes one or two, so that the peer's flusher may be some 50 batches ahead. */
#define RM_RDMA_RECEIVES 128u
#define RM_RDMA_REPOST 16u
/* Receives that only credit may use: without, two sides that have used up all could not say so. */
#define RM_RDMA_RESERVE 2u
/* Work requests under way on the ring pair: nearly one for each receive. Devices hold powers of two
 * less one or two; each takes half a KiB. */
#define RM_RDMA_DEPTH 126u
/* One send in so many work requests asks for a completion. */
#define RM_RDMA_SIGNAL 64u
/* Bytes that travel inside a work request: a call and its header, or a notice. */
#define RM_RDMA_INLINE 192u
/* Bulk messages up to this size are written into the peer's box and copied there: reading them
 * would cost a round trip more. Beyond, the copy is dearer. */
#define RM_RDMA_BOX_SLOT (2u << 10)
/* Bulk messages read from the peer at a time; devices allow 16. */
#define RM_RDMA_READS 16u
/* Messages that were read before their sender is told, if more are under way and it does not wait.
 */
#define RM_RDMA_TELL 4u
/* Work requests that are held back when more are announced: four messages, or two with records. */
#define RM_RDMA_CORK 4u
/* Pieces of RM_BULK_MAX through which memory passes that is not registered, each way: one is
 * filled while another is under way. */
#define RM_RDMA_STAGE 2u
/* Connection parameters: 4.096 us * 2^16 = 268 ms until a packet is sent again, six times (seven
 * never ends on Soft-RoCE). */
#define RM_RDMA_TIMEOUT 16
#define RM_RDMA_RETRIES 6
/* A pair that is stopped gives its requests back at once, on a busy machine after a while. A device
 * that does not within this time has failed. */
#define RM_RDMA_DRAIN_MS 2000u
/* After the lifeline ended: how long what the peer still sent may take. */
#define RM_RDMA_LINGER_MS 100u

/* Each stream of frames in shared memory: what both processors' caches hold. */
#define RM_SHM_STREAM (256u << 10)

/* Bulk messages from this size on are copied once, from or to where they belong: below, a second
 * copy costs less than the question. */
#define RM_SHM_PLACED_LEAST (16u << 10)

/* From this size on bytes are copied by the processor's string instruction. */
#define RM_SHM_STRING_COPY (64u << 10)

/* Looks at shared memory, some 15 ns apart, before a processor is offered to others: a peer on
 * another one answers within a microsecond. */
#define RM_SHM_LOOKS 64u

/* A sender looks this long for the end of a copy of 1 MiB: longer than it takes, since a wake would
 * take as long. */
#define RM_SHM_COPY_US 400

/* Datagrams of others that are passed over while the server's is looked for. */
#define RM_SHM_STRANGERS 16

/* Reaching a server and being granted a session: a server that makes a worker process and a device
 * context for it answers within seconds. */
#define RM_HELLO_MS 20000

/* Control messages: a grant of 64 devices with all attributes takes 80 KiB. */
#define RM_CONTROL_MAX (1u << 20)
#define RM_HELLO_BYTES (64u << 10)

/* Address ranges proposed to and fro before both sides give up. */
#define RM_ADDRESS_ROUNDS 8

#endif
