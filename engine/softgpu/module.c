/* A program in a context: places and fills its variables, loads its functions and kernels. */
#include "module.h"
#include "memory.h"
#include "queue.h"
#include "runtime.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names that objects refer to */

static uintptr_t variable_address(const sg_module *m, const char *name) {
  int i = sg_program_variable(m->program, name);
  return i < 0 ? 0 : m->variables[i];
}

static uintptr_t resolve(void *context, const char *name) {
  const sg_module *m = context;
  if (!strncmp(name, "v.", 2)) return variable_address(m, name + 2);
  if (!strncmp(name, "f.", 2)) return sg_code_symbol(&m->functions, name);
  return sg_runtime_symbol(name);
}

static CUresult load_object(sg_module *m, uint32_t unit, sg_jit_log *log, sg_code *code) {
  char problem[256];
  sg_file file;
  CUresult r = sg_program_object(m->program, unit, log, &file);
  if (r != CUDA_SUCCESS) return r;
  r = sg_code_load(file.data, file.bytes, resolve, m, code, problem, sizeof problem);
  if (r != CUDA_SUCCESS) sg_jit_log_error(log, r, problem);
  sg_file_release(&file);
  return r;
}

/* ---- variables */

/* A library's managed variables are there already, and the same in all its modules. */
static bool is_librarys(const sg_module *m, uint32_t i) {
  return m->library && (m->program->variables[i].flags & RM_VARIABLE_MANAGED);
}

static size_t place_variables(const sg_module *m, uintptr_t base, uintptr_t *address) {
  const sg_program *p = m->program;
  size_t end = 0;
  for (uint32_t i = 0; i < p->head->variable_count; i++) {
    const struct rm_desc_variable *v = &p->variables[i];
    if (address && is_librarys(m, i)) address[i] = m->library->managed[i];
    if ((v->flags & RM_VARIABLE_EXTERN) || is_librarys(m, i)) continue;
    end = sg_round_up(end, v->align > 16 && v->align <= SG_PAGE ? v->align : 16);
    if (address) address[i] = base + end;
    end += v->bytes ? v->bytes : 1;
  }
  return end;
}

static CUresult make_variables(sg_module *m, sg_jit_log *log) {
  const sg_program *p = m->program;
  for (uint32_t i = 0; i < p->head->variable_count; i++)
    if (p->variables[i].flags & RM_VARIABLE_EXTERN) {
      sg_jit_log_error(log, CUDA_ERROR_INVALID_IMAGE, "an extern variable is defined nowhere");
      return CUDA_ERROR_INVALID_IMAGE;
    }
  size_t bytes = place_variables(m, 0, NULL);
  m->variables = calloc(p->head->variable_count + 1, sizeof *m->variables);
  if (!m->variables) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult r = CUDA_SUCCESS;
  if (bytes) r = sg_memory_alloc(m->context, bytes, SG_RANGE_VARIABLE, m, &m->block);
  if (r == CUDA_SUCCESS) place_variables(m, m->block, m->variables);
  return r;
}

static bool fill_reference(sg_module *m, uintptr_t base, const struct rm_desc_reference *x) {
  uintptr_t target = resolve(m, sg_program_name(m->program, x->symbol));
  if (!target) return false;
  uint64_t value = (target + x->addend) >> x->shift;
  memcpy((void *)(base + x->offset), &value, x->bytes);
  return true;
}

static CUresult fill_variables(sg_module *m, sg_jit_log *log) {
  const sg_program *p = m->program;
  for (uint32_t i = 0; i < p->head->variable_count; i++) {
    const struct rm_desc_variable *v = &p->variables[i];
    if (is_librarys(m, i)) continue;
    if (v->init != RM_DESC_NONE) memcpy((void *)m->variables[i], p->data + v->init, v->init_bytes);
    for (uint32_t j = 0; j < v->reference_count; j++)
      if (!fill_reference(m, m->variables[i], &p->fixups[v->first_reference + j])) {
        sg_jit_log_error(log, CUDA_ERROR_INVALID_IMAGE, "an initial value refers to nothing known");
        return CUDA_ERROR_INVALID_IMAGE;
      }
  }
  return CUDA_SUCCESS;
}

/* ---- life */

static CUresult fill(sg_module *m, sg_jit_log *log) {
  size_t kernels = m->program->head->kernel_count + 1;
  m->codes = calloc(kernels, sizeof *m->codes);
  m->kernels = calloc(kernels, sizeof *m->kernels);
  if (!m->codes || !m->kernels) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult r = make_variables(m, log);
  if (r == CUDA_SUCCESS && (m->program->head->flags & RM_MODULE_FUNCTIONS))
    r = load_object(m, RM_UNIT_FUNCTIONS, log, &m->functions);
  return r == CUDA_SUCCESS ? fill_variables(m, log) : r;
}

CUresult sg_module_new(sg_context *context, sg_program *program, sg_library *library,
                       sg_jit_log *log, sg_module **module) {
  sg_module *m = sg_object_new(SG_MODULE, sizeof *m);
  if (!m) return CUDA_ERROR_OUT_OF_MEMORY;
  m->context = context;
  m->library = library;
  m->program = sg_program_hold(program);
  pthread_mutex_init(&m->lock, NULL);
  CUresult r = fill(m, log);
  if (r == CUDA_SUCCESS)
    *module = m;
  else
    sg_module_delete(m);
  return r;
}

static void delete_code(sg_kernel_code *k) {
  if (!k) return;
  sg_code_unload(&k->code);
  free(k);
}

void sg_module_delete(sg_module *m) {
  sg_object_retire(m);
  for (uint32_t i = 0; i < m->program->head->kernel_count; i++) {
    if (m->codes) delete_code(m->codes[i]);
    if (m->kernels && m->kernels[i]) sg_object_free(m->kernels[i]);
  }
  sg_code_unload(&m->functions);
  if (m->block) sg_memory_free(m->block, SG_RANGE_VARIABLE);
  free(m->variables);
  free(m->codes);
  free(m->kernels);
  sg_program_drop(m->program);
  sg_object_free(m);
}

void sg_modules_forget(sg_context *context) {
  for (sg_module *m = sg_object_next(SG_MODULE, NULL), *next; m; m = next) {
    next = sg_object_next(SG_MODULE, m);
    if (m->context != context) continue;
    sg_library *l = m->library;
    for (sg_module **at = l ? &l->modules : NULL; at && *at; at = &(*at)->next)
      if (*at == m) {
        *at = m->next;
        break;
      }
    sg_module_delete(m);
  }
}

/* ---- kernels */

static CUresult load_kernel(sg_module *m, uint32_t index, sg_kernel_code **code) {
  sg_kernel_code *k = calloc(1, sizeof *k);
  if (!k) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult r = load_object(m, index, NULL, &k->code);
  if (r == CUDA_SUCCESS) {
    k->info = (const struct rm_kernel_info *)sg_code_symbol(&k->code, "rm_kernel");
    k->entry = sg_code_symbol(&k->code, "rm_entry");
    if (!k->info || !k->entry || k->info->abi != RM_KERNEL_ABI) r = CUDA_ERROR_INVALID_IMAGE;
  }
  if (r == CUDA_SUCCESS)
    *code = k;
  else
    delete_code(k);
  return r;
}

CUresult sg_module_code(sg_module *m, uint32_t index, sg_kernel_code **code) {
  sg_kernel_code *k = m->codes[index];
  CUresult r = CUDA_SUCCESS;
  if (!k) {
    pthread_mutex_lock(&m->lock);
    k = m->codes[index];
    if (!k) r = load_kernel(m, index, &k);
    if (r == CUDA_SUCCESS) m->codes[index] = k;
    pthread_mutex_unlock(&m->lock);
  }
  *code = k;
  return r;
}

sg_kernel *sg_kernel_new(sg_module *module, sg_library *library, uint32_t index) {
  sg_kernel *k = sg_object_new(SG_KERNEL, sizeof *k);
  if (!k) return NULL;
  k->module = module;
  k->library = library;
  k->index = index;
  k->carveout = -1;
  return k;
}

CUresult sg_module_kernel(sg_module *m, uint32_t index, sg_kernel **kernel) {
  pthread_mutex_lock(&m->lock);
  if (!m->kernels[index]) m->kernels[index] = sg_kernel_new(m, NULL, index);
  *kernel = m->kernels[index];
  pthread_mutex_unlock(&m->lock);
  return *kernel ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
