/* Warp operations, computed once for a group of lanes that has arrived (PTX ISA, "shfl.sync",
   "vote.sync", "match.sync", "redux.sync"). */
#include "blocks.h"

/* Source lane of a shuffle and whether it lies in range: the PTX manual's own formulas. */
static uint32_t shuffle_source(uint32_t op, uint32_t lane, uint32_t b, uint32_t c, bool *in_range) {
  uint32_t clamp = c & 31, segment = (c >> 8) & 31;
  int top = (int)((lane & segment) | (clamp & ~segment));
  int bottom = (int)(lane & segment);
  int source;
  b &= 31;
  switch (op) {
  case RM_WARP_SHFL_UP:
    source = (int)lane - (int)b;
    *in_range = source >= top;
    break;
  case RM_WARP_SHFL_DOWN:
    source = (int)(lane + b);
    *in_range = source <= top;
    break;
  case RM_WARP_SHFL_BFLY:
    source = (int)(lane ^ b);
    *in_range = source <= top;
    break;
  default: source = bottom | (int)(b & ~segment); *in_range = source <= top;
  }
  return *in_range ? (uint32_t)source : lane;
}

/* What a lane outside the group would give is undefined; zero is what programs that sum it up have
   seen on real devices. */
static void shuffle(struct rm_thread *w, uint32_t group) {
  for (uint32_t rest = group; rest; rest &= rest - 1) {
    uint32_t i = (uint32_t)__builtin_ctz(rest);
    bool in_range;
    uint32_t from = shuffle_source(w[i].op, i, (uint32_t)w[i].b, (uint32_t)w[i].c, &in_range);
    w[i].result = group >> from & 1 ? w[from].a : 0;
    w[i].predicate = in_range;
  }
}

static uint64_t vote_result(uint32_t op, uint32_t votes, uint32_t group) {
  switch (op) {
  case RM_WARP_ANY: return votes != 0;
  case RM_WARP_ALL: return votes == group;
  case RM_WARP_UNI: return votes == 0 || votes == group;
  default: return votes;
  }
}

static void give_all(struct rm_thread *w, uint32_t group, uint64_t result) {
  for (uint32_t rest = group; rest; rest &= rest - 1) w[__builtin_ctz(rest)].result = result;
}

static void vote(struct rm_thread *w, uint32_t group, uint32_t op) {
  uint32_t votes = 0;
  for (uint32_t rest = group; rest; rest &= rest - 1) {
    uint32_t i = (uint32_t)__builtin_ctz(rest);
    votes |= (uint32_t)(w[i].a & 1) << i;
  }
  give_all(w, group, vote_result(op, votes, group));
}

static uint32_t same_as(const struct rm_thread *w, uint32_t group, uint64_t value) {
  uint32_t same = 0;
  for (uint32_t rest = group; rest; rest &= rest - 1) {
    uint32_t i = (uint32_t)__builtin_ctz(rest);
    if (w[i].a == value) same |= 1u << i;
  }
  return same;
}

static void match_any(struct rm_thread *w, uint32_t group) {
  for (uint32_t rest = group; rest; rest &= rest - 1) {
    uint32_t i = (uint32_t)__builtin_ctz(rest);
    w[i].result = same_as(w, group, w[i].a);
  }
}

static void match_all(struct rm_thread *w, uint32_t group) {
  bool all = same_as(w, group, w[__builtin_ctz(group)].a) == group;
  for (uint32_t rest = group; rest; rest &= rest - 1) {
    uint32_t i = (uint32_t)__builtin_ctz(rest);
    w[i].result = all ? group : 0;
    w[i].predicate = all;
  }
}

static uint32_t combine(uint32_t op, uint32_t a, uint32_t b) {
  switch (op) {
  case RM_WARP_ADD: return a + b;
  case RM_WARP_MIN_U: return a < b ? a : b;
  case RM_WARP_MAX_U: return a > b ? a : b;
  case RM_WARP_MIN_S: return (int32_t)a < (int32_t)b ? a : b;
  case RM_WARP_MAX_S: return (int32_t)a > (int32_t)b ? a : b;
  case RM_WARP_AND: return a & b;
  case RM_WARP_OR: return a | b;
  default: return a ^ b;
  }
}

static void reduce(struct rm_thread *w, uint32_t group, uint32_t op) {
  uint32_t value = (uint32_t)w[__builtin_ctz(group)].a;
  for (uint32_t rest = group & (group - 1); rest; rest &= rest - 1)
    value = combine(op, value, (uint32_t)w[__builtin_ctz(rest)].a);
  give_all(w, group, value);
}

void sg_warp_operation(struct rm_thread *w, uint32_t group) {
  uint32_t op = w[__builtin_ctz(group)].op;
  switch (op) {
  case RM_WARP_SYNC: break;
  case RM_WARP_ACTIVE: give_all(w, group, group); break;
  case RM_WARP_SHFL_UP:
  case RM_WARP_SHFL_DOWN:
  case RM_WARP_SHFL_BFLY:
  case RM_WARP_SHFL_IDX: shuffle(w, group); break;
  case RM_WARP_BALLOT:
  case RM_WARP_ANY:
  case RM_WARP_ALL:
  case RM_WARP_UNI: vote(w, group, op); break;
  case RM_WARP_MATCH_ANY: match_any(w, group); break;
  case RM_WARP_MATCH_ALL: match_all(w, group); break;
  case RM_WARP_LDMATRIX: sg_warp_ldmatrix(w); break;
  case RM_WARP_MMA: sg_warp_mma(w); break;
  default: reduce(w, group, op);
  }
}
