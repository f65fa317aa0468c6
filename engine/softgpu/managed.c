/* Managed variables of a library: one copy for all contexts and devices, there before any context.
 */
#include "memory.h"
#include "module.h"
#include <stdlib.h>
#include <string.h>

static bool is_managed(const struct rm_desc_variable *v) {
  return (v->flags & RM_VARIABLE_MANAGED) && !(v->flags & RM_VARIABLE_EXTERN);
}

static size_t place(const sg_program *p, uintptr_t base, uintptr_t *address) {
  size_t end = 0;
  for (uint32_t i = 0; i < p->head->variable_count; i++) {
    const struct rm_desc_variable *v = &p->variables[i];
    if (!is_managed(v)) continue;
    end = sg_round_up(end, v->align > 16 && v->align <= SG_PAGE ? v->align : 16);
    if (address) address[i] = base + end;
    end += v->bytes ? v->bytes : 1;
  }
  return end;
}

/* Initial values may hold addresses of other managed variables; those of a module's are not known
   before there is one. */
static bool fill_reference(const sg_library *l, uintptr_t base, const struct rm_desc_reference *x) {
  const char *name = sg_program_name(l->program, x->symbol);
  int i = strncmp(name, "v.", 2) ? -1 : sg_program_variable(l->program, name + 2);
  if (i < 0 || !l->managed[i]) return false;
  uint64_t value = (l->managed[i] + x->addend) >> x->shift;
  memcpy((void *)(base + x->offset), &value, x->bytes);
  return true;
}

static CUresult fill(const sg_library *l, sg_jit_log *log) {
  const sg_program *p = l->program;
  for (uint32_t i = 0; i < p->head->variable_count; i++) {
    const struct rm_desc_variable *v = &p->variables[i];
    if (!is_managed(v)) continue;
    if (v->init != RM_DESC_NONE) memcpy((void *)l->managed[i], p->data + v->init, v->init_bytes);
    for (uint32_t j = 0; j < v->reference_count; j++)
      if (!fill_reference(l, l->managed[i], &p->fixups[v->first_reference + j])) {
        sg_jit_log_error(log, CUDA_ERROR_INVALID_IMAGE,
                         "a managed variable's initial value refers to what is not managed");
        return CUDA_ERROR_INVALID_IMAGE;
      }
  }
  return CUDA_SUCCESS;
}

CUresult sg_library_make_managed(sg_library *l, sg_jit_log *log) {
  const sg_program *p = l->program;
  if (l->managed) return CUDA_SUCCESS;
  size_t bytes = place(p, 0, NULL);
  l->managed = calloc(p->head->variable_count + 1, sizeof *l->managed);
  if (!l->managed) return CUDA_ERROR_OUT_OF_MEMORY;
  if (!bytes) return CUDA_SUCCESS;
  CUresult r =
      sg_memory_alloc(sg_device_at(0)->primary, bytes, SG_RANGE_MANAGED, l, &l->managed_block);
  if (r == CUDA_SUCCESS) {
    sg_memory_set_managed(l->managed_block);
    place(p, l->managed_block, l->managed);
    r = fill(l, log);
  }
  if (r != CUDA_SUCCESS) sg_library_free_managed(l);
  return r;
}

void sg_library_free_managed(sg_library *l) {
  if (l->managed_block) sg_memory_free(l->managed_block, SG_RANGE_MANAGED);
  free(l->managed);
  l->managed_block = 0;
  l->managed = NULL;
}
