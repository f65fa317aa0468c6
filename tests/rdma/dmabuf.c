/* dmabuf.c: memory of a device that the CPU does not see is registered as the standard asks, over
 * FAKE verbs that keep what they are given: no device here takes a dma-buf. The calls' meaning:
 * ibv_reg_mr(3) of rdma-core. Ends with a message and status 1 at the first thing that is wrong. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "transport/internal.h"
#include "transport/rdma.h"

#define EXPECT(what)                                                                               \
  if (!(what)) {                                                                                   \
    fprintf(stderr, "line %d: expected %s\n", __LINE__, #what);                                    \
    exit(1);                                                                                       \
  }

enum { FD = 77, OFFSET = 0x10000, LKEY = 5, RKEY = 6 };
static const uint64_t AT = 0x7f0000200000;
static const size_t BYTES = 2 << 20;

static struct {
  uint64_t offset, length, iova;
  int fd, access, registered, ended;
} given;
static struct ibv_mr mr;
static int refusal; /* errno; 0: takes it */

static struct ibv_mr *fake_reg_dmabuf(struct ibv_pd *pd, uint64_t offset, size_t length,
                                      uint64_t iova, int fd, int access) {
  (void)pd;
  given.offset = offset, given.length = length, given.iova = iova, given.fd = fd;
  given.access = access;
  given.registered++;
  mr.lkey = LKEY, mr.rkey = RKEY;
  errno = refusal;
  return refusal ? NULL : &mr;
}

static int fake_dereg(struct ibv_mr *which) {
  EXPECT(which == &mr);
  mr.lkey = mr.rkey = 0; /* it is freed */
  given.ended++;
  return 0;
}

static rm_verbs verbs = {.reg_dmabuf_mr = fake_reg_dmabuf, .dereg_mr = fake_dereg};

static rm_rdma *make_link(void) {
  rm_rdma *r = calloc(1, sizeof *r);
  r->base.ops = &rm_rdma_ops;
  r->verbs = &verbs;
  r->theirs.box_slot = RM_RDMA_BOX_SLOT;
  pthread_mutex_init(&r->region_lock, NULL);
  return r;
}

static int tell(rm_rdma *r) { return r->base.ops->dmabuf(&r->base, AT, BYTES, FD, OFFSET); }
static bool alone(rm_rdma *r, uint64_t at, size_t n) {
  return r->base.ops->moves_alone(&r->base, at, n);
}

static void is_registered_by_its_own_addresses(void) {
  rm_rdma *r = make_link();
  EXPECT(tell(r) == 0);
  EXPECT(given.fd == FD && given.offset == OFFSET && given.length == BYTES && given.iova == AT);
  EXPECT(given.access == (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ));
  rm_region *region = rm_rdma_use(r, (void *)(AT + 4096), 1 << 20, true);
  EXPECT(region && region->mr == &mr && region->at == AT);
  EXPECT(tell(r) == -EEXIST && given.ended == 1);
  rm_rdma_forget_memory(r);
  EXPECT(given.ended == 2);
}

static void only_messages_that_no_cpu_touches_may_use_it(void) {
  rm_rdma *r = make_link();
  EXPECT(!alone(r, AT, 1 << 20));
  EXPECT(tell(r) == 0);
  EXPECT(alone(r, AT, BYTES) && alone(r, AT + BYTES - (1 << 20), 1 << 20));
  EXPECT(!alone(r, AT + 1, BYTES) && !alone(r, AT - 1, 1 << 20));
  EXPECT(!alone(r, AT, RM_RDMA_BOX_SLOT) && alone(r, AT, RM_RDMA_BOX_SLOT + 1));
}

static void what_goes_with_its_channel_still_has_keys(void) {
  rm_rdma *r = make_link();
  rm_channel ch = {.link = &r->base, .error = RM_ECLOSED};
  EXPECT(tell(r) == 0);
  rm_region *used = rm_rdma_use(r, (void *)AT, BYTES, true);
  int before = given.ended;
  EXPECT(r->base.ops->memory(&r->base, &ch, (void *)AT, BYTES, false) == 0);
  EXPECT(given.ended == before + 1 && used->lkey == LKEY && used->rkey == RKEY);
}

static void what_cannot_be_registered_is_not(void) {
  rm_rdma *r = make_link();
  refusal = EOPNOTSUPP;
  EXPECT(tell(r) == -EOPNOTSUPP && !alone(r, AT, BYTES));
  refusal = 0;
  verbs.reg_dmabuf_mr = NULL; /* as libibverbs before version 34 */
  int tries = given.registered;
  EXPECT(tell(r) == -EOPNOTSUPP && !alone(r, AT, BYTES) && given.registered == tries);
  EXPECT(r->base.ops->dmabuf(&r->base, AT, BYTES, -1, 0) == -EBADF);
}

static void other_links_say_that_they_have_no_use_for_it(void) {
  rm_link_ops none = {0};
  rm_link link = {.ops = &none};
  rm_channel ch = {.link = &link};
  EXPECT(rm_register_dmabuf(&ch, AT, BYTES, FD, 0) == -EOPNOTSUPP);
  EXPECT(!rm_moves_alone(&ch, AT, BYTES) && !rm_takes_dmabuf(&ch));
}

int main(void) {
  is_registered_by_its_own_addresses();
  only_messages_that_no_cpu_touches_may_use_it();
  what_goes_with_its_channel_still_has_keys();
  what_cannot_be_registered_is_not();
  other_links_say_that_they_have_no_use_for_it();
  puts("ok");
  return 0;
}
