/* The private tables that CUDA's own libraries ask for with cuGetExportTable. Only what
 * those libraries were seen to need is here; any other table is refused, because a guessed answer
 * crashes them. The first word of a table is its size in bytes, except where said. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include "../../shim/runtime/integrity.h"
#include "context.h"
#include "memory.h"
#include "queue.h"
#include "settings.h"
#include "storage.h"
#include "say.h"
#include "visible.h"

typedef const void *slot;

#define SIZED(n) [0] = (slot)((n) * sizeof(slot))
#define CODE(function) (slot)(uintptr_t)(function)

/* ---- CUDART_INTERFACE: 13 slots, as the newest runtimes look at them */

static CUresult primary_handle(CUcontext *out, CUdevice device) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  sg_device *d = sg_device_at(device);
  if (!d) return CUDA_ERROR_INVALID_DEVICE;
  *out = (CUcontext)d->primary; /* not retained */
  return CUDA_SUCCESS;
}

static CUresult load_module(CUmodule *out, const void *image) {
  return sg_cuModuleLoadData(out, image);
}

static CUresult load_module_more(CUmodule *out, const void *image, void *a, void *b, uint32_t c) {
  (void)a, (void)b, (void)c;
  return sg_cuModuleLoadData(out, image);
}

static CUresult load_fatbin(const void *image, CUmodule *out, void *a, void *b, uint32_t c) {
  (void)a, (void)b, (void)c;
  return sg_cuModuleLoadData(out, image);
}

static CUresult nothing(void) { return CUDA_SUCCESS; }

static const slot runtime_table[13] = {
    SIZED(13),
    [1] = CODE(load_module),
    [2] = CODE(primary_handle),
    [6] = CODE(load_module_more),
    [7] = CODE(nothing),
    [8] = CODE(load_fatbin),
    [12] = CODE(nothing),
};

/* ---- RUNTIME_CALLBACK_HOOKS: zeroed buffers that the runtime marks */

/* n counts elements, whose size is the runtime's affair: 8 bytes hold any. */
enum { HOOKS = 1024, FLAGS = 14 };
static uint64_t hook_space[HOOKS], hook_flags[FLAGS];

static void hooks_space(void **buffer, size_t *n) {
  *buffer = hook_space;
  *n = HOOKS;
}

static void hooks_flags(void **buffer, size_t *n) {
  *buffer = hook_flags;
  *n = FLAGS;
}

static const slot hooks_table[7] = {SIZED(7), [2] = CODE(hooks_space), [6] = CODE(hooks_flags)};

/* ---- TOOLS_TLS */

static CUresult tls_current(void **out) {
  *out = sg_context_current();
  return CUDA_SUCCESS;
}

static const slot tls_table[4] = {SIZED(4), [2] = CODE(tls_current)};

/* ---- CONTEXT_LOCAL_STORAGE: no size word */

static const slot storage_table[4] = {CODE(sg_storage_put), CODE(sg_storage_delete),
                                      CODE(sg_storage_get)};

/* ---- CONTEXT_CHECKS */

static CUresult check_context(CUcontext context, uint32_t *a, void **b) {
  (void)context, (void)b;
  *a = 0;
  return CUDA_SUCCESS;
}

static const slot checks_table[4] = {SIZED(4), [2] = CODE(check_context), [3] = CODE(nothing)};

/* ---- INTEGRITY_CHECK */

static CUresult integrity(uint32_t version, uint64_t seconds, uint64_t out[2]);
static const slot integrity_table[3] = {SIZED(3), [1] = CODE(integrity)};

static uint32_t integrity_devices(rm_integrity_device *out) {
  for (int i = 0; i < sg_device_count(); i++) {
    sg_device_uuid(i, out[i].uuid);
    out[i].domain = sg_device_attribute(i, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
    out[i].bus = sg_device_attribute(i, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
    out[i].device = sg_device_attribute(i, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
  }
  return (uint32_t)sg_device_count();
}

static CUresult integrity(uint32_t version, uint64_t seconds, uint64_t out[2]) {
  rm_integrity_device devices[RM_INTEGRITY_DEVICES_MAX];
  int driver = 0;
  sg_cuDriverGetVersion(&driver);
  rm_integrity what = {
      .driver_version = (uint32_t)driver,
      .runtime_version = version,
      .pid = (uint32_t)getpid(),
      .thread = (uint32_t)(uintptr_t)pthread_self(),
      .runtime_table = (uint64_t)(uintptr_t)runtime_table,
      .integrity_table = (uint64_t)(uintptr_t)integrity_table,
      .function = (uint64_t)(uintptr_t)integrity,
      .seconds = seconds,
  };
  rm_integrity_answer(&what, devices, integrity_devices(devices), out);
  return CUDA_SUCCESS;
}

/* ---- a context's id */

static CUresult context_id(CUcontext handle, uint64_t *id) {
  sg_context *context = handle ? sg_object_get(handle, SG_CONTEXT) : sg_context_current();
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  *id = context->id;
  return CUDA_SUCCESS;
}

static CUresult refused(void) { return CUDA_ERROR_NOT_SUPPORTED; }

/* 39 and 51 are asked by cuBLAS on a device newer than it is: both want 0, and no answer. */
static const slot context_table[52] = {SIZED(52),
                                       [1 ... 3] = CODE(refused),
                                       [4] = CODE(context_id),
                                       [5 ... 38] = CODE(refused),
                                       [39] = CODE(nothing),
                                       [40 ... 50] = CODE(refused),
                                       [51] = CODE(nothing)};

/* ---- a module's functions, for cuFFT */

typedef void (*function_visitor)(void *user, CUfunction function, void *more);

static int each_function(CUcontext context, CUmodule module, function_visitor visit, void *user,
                         void *more) {
  unsigned count = 0;
  CUfunction functions[256];
  (void)context;
  if (sg_cuModuleGetFunctionCount(&count, module) ||
      sg_cuModuleEnumerateFunctions(functions, 256, module))
    return 0;
  count = count < 256 ? count : 256;
  for (unsigned i = 0; i < count; i++) visit(user, functions[i], more);
  return (int)count;
}

static const slot module_table[8] = {SIZED(8), [7] = CODE(each_function)};

/* ---- two pointers that must stay as they are: NULL */

static CUresult no_pointers(void **a, void **b) {
  *a = *b = NULL;
  return CUDA_SUCCESS;
}

static const slot pointers_table[5] = {SIZED(5), [4] = CODE(no_pointers)};

/* ---- device memory that the CPU sees: our own, see visible.h */

static const slot visible_table[4] = {SIZED(4), CODE(sg_queues_rest), CODE(sg_mapped_file),
                                      CODE(sg_say_to)};

/* ---- the door */

static const struct {
  uint8_t uuid[16];
  const slot *table;
} tables[] = {
    {{0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a, 0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d,
      0xf9},
     runtime_table},
    {{0xa0, 0x94, 0x79, 0x8c, 0x2e, 0x74, 0x2e, 0x74, 0x93, 0xf2, 0x08, 0x00, 0x20, 0x0c, 0x0a,
      0x66},
     hooks_table},
    {{0x42, 0xd8, 0x5a, 0x81, 0x23, 0xf6, 0xcb, 0x47, 0x82, 0x98, 0xf6, 0xe7, 0x8a, 0x3a, 0xec,
      0xdc},
     tls_table},
    {{0xc6, 0x93, 0x33, 0x6e, 0x11, 0x21, 0xdf, 0x11, 0xa8, 0xc3, 0x68, 0xf3, 0x55, 0xd8, 0x95,
      0x93},
     storage_table},
    {{0x26, 0x3e, 0x88, 0x60, 0x7c, 0xd2, 0x61, 0x43, 0x92, 0xf6, 0xbb, 0xd5, 0x00, 0x6d, 0xfa,
      0x7e},
     checks_table},
    {{0xd4, 0x08, 0x20, 0x55, 0xbd, 0xe6, 0x70, 0x4b, 0x8d, 0x34, 0xba, 0x12, 0x3c, 0x66, 0xe1,
      0xf2},
     integrity_table},
    {{0x21, 0x31, 0x8c, 0x60, 0x97, 0x14, 0x32, 0x48, 0x8c, 0xa6, 0x41, 0xff, 0x73, 0x24, 0xc8,
      0xf2},
     context_table},
    {{0x6e, 0x16, 0x3f, 0xbe, 0xb9, 0x58, 0x44, 0x4d, 0x83, 0x5c, 0xe1, 0x82, 0xaf, 0xf1, 0x99,
      0x1e},
     module_table},
    {{0x17, 0x34, 0xdc, 0x26, 0x80, 0x0d, 0x47, 0x45, 0x87, 0x26, 0xc0, 0xf1, 0xe7, 0xdd, 0x8b,
      0xca},
     pointers_table},
    {SG_VISIBLE_UUID, visible_table},
};

static bool hidden(const slot *table) { return table == visible_table && !sg_config()->visible; }

CUresult sg_cuGetExportTable(const void **out, const CUuuid *id) {
  if (!out || !id) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    if (!memcmp(tables[i].uuid, id->bytes, sizeof id->bytes) && !hidden(tables[i].table)) {
      *out = tables[i].table;
      return CUDA_SUCCESS;
    }
  *out = NULL;
  return CUDA_ERROR_NOT_FOUND;
}
