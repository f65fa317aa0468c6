/* The agreement between compiled kernels, the driver library that runs them and the compile
 * service that makes them. Three parts: (1) what an object file refers to and exports, (2) the
 * module description and the cache, (3) the service's protocol. docs/software-gpu.md explains.
 *
 * Knows nothing of LLVM, of Python or of the driver's own state. Everything is little endian and
 * in this machine's own layout: objects and descriptions never leave the machine.
 * Python reads the numbers below from compiler/abi.py; a test compares the two. */
#ifndef REMORA_KERNEL_ABI_H
#define REMORA_KERNEL_ABI_H

#include <stdint.h>

#define RM_KERNEL_ABI 4u /* raise at any change in this file: it is part of every cache key */

/* ---- 1. Objects ---------------------------------------------------------------------------
 * One relocatable ELF object (ET_REL) per kernel, and at most one "functions object" per module.
 *
 * Code model: small, position independent. All SHF_ALLOC sections are mapped in one stretch
 * (< 2 GiB) together with one slot per undefined symbol: 8 bytes holding its address (the GOT
 * entry) and 8 bytes of code that jump through it (the PLT stub).
 *   x86-64 relocations: R_X86_64_64, PC32, PLT32, PC64, GOTPCREL, GOTPCRELX, REX_GOTPCRELX,
 *                       32 and 32S never.
 *   aarch64 (later):    ABS64, PREL32, CALL26, JUMP26, ADR_PREL_PG_HI21, ADD_ABS_LO12_NC,
 *                       LDST{8,16,32,64,128}_ABS_LO12_NC, ADR_GOT_PAGE, LD64_GOT_LO12_NC.
 * Anything else is refused. No TLS, no constructors, no unwinding tables, no COMMON symbols.
 *
 * Symbols an object exports
 *   rm_kernel         struct rm_kernel_info (kernel objects only)
 *   rm_entry          the entry, see below (kernel objects only)
 *   f.NAME            a device function whose address is taken (functions object only)
 * Symbols an object may refer to
 *   v.NAME            a module variable (.global, .const); its address once the module is loaded.
 *                     A variable declared inside a function FUNC is v.FUNC.NAME.
 *   f.NAME            from the functions object of the same module
 *   rm_*              the runtime functions below
 *   C library names   memcpy memset memmove, fma fmaf, sin cos exp2 log2 tanh and their f forms,
 *                     sincos ldexp pow exp10 tan and their f forms, memcmp bcmp strlen,
 *                     trunc floor ceil rint nearbyint roundeven and their f forms,
 *                     fmin fmax fminf fmaxf, fmod fmodf, sqrt sqrtf, __truncdfhf2, __truncsfhf2,
 *                     __extendhfsf2. A name outside this list is a load error. */

struct rm_block;
struct rm_thread;

enum rm_mode {
  RM_MODE_LOOP = 0, /* void rm_entry(struct rm_block *): runs every thread of the block */
  RM_MODE_CORO = 1, /* void *rm_entry(struct rm_block *, struct rm_thread *): see rm_thread_entry */
};

struct rm_kernel_info {
  uint32_t abi;           /* RM_KERNEL_ABI */
  uint32_t mode;          /* enum rm_mode */
  uint32_t width;         /* CUDA threads per rm_thread or loop step: 1 (vector code: more) */
  uint32_t static_shared; /* bytes; dynamic shared memory starts there */
  uint32_t param_bytes;
  uint32_t local_bytes; /* local memory of one thread, callees that are not inlined excluded */
  uint32_t flags;       /* RM_KERNEL_* */
  uint32_t reserved[9];
};
#define RM_KERNEL_GRID_SYNC 1u /* reads the grid workspace (%envreg1, %envreg2) */

/* Loop mode. The caller fills the block once and then changes ctaid from call to call. */
typedef void (*rm_block_entry)(struct rm_block *block);

/* Coroutine mode. The first call for a thread runs it to its first suspension (or its end) and
 * returns the coroutine's handle. After that: (*(void (**)(void *))handle)(handle) resumes it.
 * Never resume a thread whose state is RM_THREAD_DONE. Nothing has to be destroyed: frames live in
 * memory from rm_frame. A thread that suspends has said why in `state` and in the operand fields.
 */
typedef void *(*rm_thread_entry)(struct rm_block *block, struct rm_thread *thread);

/* One block in flight. A block runs on one OS thread from start to end (shared memory atomics have
 * no lock prefix), but several blocks may take turns on one OS thread (cooperative launches). */
struct rm_block {
  uint32_t ntid[3];        /*   0 block dimensions */
  uint32_t nctaid[3];      /*  12 grid dimensions */
  uint32_t ctaid[3];       /*  24 this block */
  uint32_t dynamic_shared; /* 36 bytes */
  uint8_t *shared;        /*  40 static then dynamic; aligned to 1024, readable for 16 bytes more */
  uint32_t total_shared;  /*  48 static + dynamic, bytes */
  uint32_t smid;          /*  52 worker number */
  const uint8_t *params;  /*  56 the parameter buffer, aligned to 16 */
  uint32_t nsmid;         /*  64 */
  uint32_t grid_id;       /*  68 */
  const uint32_t *envreg; /*  72 32 words; words 1 and 2: high and low half of the grid workspace's
                                 address in a cooperative launch, else 0 */
  void *runtime;          /*  80 the driver's own */
  uint32_t reserved[10];  /*  88 */
}; /* 128; the driver may append its own fields */

enum rm_thread_state {
  RM_THREAD_READY = 0,
  RM_THREAD_BARRIER = 1, /* block barrier: barrier, barrier_count, op (RM_BAR_*), a; -> result */
  RM_THREAD_WARP = 2,    /* warp operation: op (RM_WARP_*), mask, a, b, c, values; -> result ... */
  RM_THREAD_DONE = 3,    /* set by the object at the thread's end */
  RM_THREAD_YIELD = 4,   /* nothing to wait for: let the others run (spin loops, nanosleep) */
  RM_THREAD_NEW = 5,     /* set by the driver before the first call */
};

/* bar.red: a is each thread's predicate (0 or 1), result the same value in every thread. */
enum rm_bar { RM_BAR_SYNC = 0, RM_BAR_POPC = 1, RM_BAR_AND = 2, RM_BAR_OR = 3 };

/* A warp operation runs once for a group: all living lanes named in `mask` have suspended with the
 * same op and mask (lanes of the mask that are DONE don't count). */
enum rm_warp {
  RM_WARP_SYNC = 0,
  RM_WARP_SHFL_UP = 1,   /* a value, b lane operand, c clamp and segment mask as in PTX shfl; */
  RM_WARP_SHFL_DOWN = 2, /* result the value, predicate whether the source was in range */
  RM_WARP_SHFL_BFLY = 3,
  RM_WARP_SHFL_IDX = 4,
  RM_WARP_BALLOT = 5, /* a predicate, result bit mask */
  RM_WARP_ANY = 6,    /* result 0 or 1 */
  RM_WARP_ALL = 7,
  RM_WARP_UNI = 8,
  RM_WARP_MATCH_ANY = 9,  /* a 64-bit value; result mask of the lanes with the same value */
  RM_WARP_MATCH_ALL = 10, /* result mask or 0, predicate */
  RM_WARP_ADD = 11,       /* redux: a 32-bit value */
  RM_WARP_MIN_U = 12,
  RM_WARP_MAX_U = 13,
  RM_WARP_MIN_S = 14,
  RM_WARP_MAX_S = 15,
  RM_WARP_AND = 16,
  RM_WARP_OR = 17,
  RM_WARP_XOR = 18,
  /* mask is a place in the code, not lanes: the group is the lanes that wait there when no lane of
     the warp can go on; result is their mask */
  RM_WARP_ACTIVE = 19,
  RM_WARP_LDMATRIX = 32, /* a row address (host), b matrices (1 2 4), c transposed; values out */
  RM_WARP_MMA = 33,      /* b shape (enum rm_mma); values: A, B, C in; D out */
};

/* mma.sync: D = A * B + C, fragments laid out over the lanes as PTX says. A shape is a number: rows
 * of A, k << 8, type of A << 16, of B << 24, of C and D << 32, and 1 << 40 for .satfinite. */
enum rm_mma {
  RM_MMA_F16 = 0,
  RM_MMA_BF16 = 1,
  RM_MMA_TF32 = 2,
  RM_MMA_F64 = 3,
  RM_MMA_E4M3 = 4,
  RM_MMA_E5M2 = 5,
  RM_MMA_S8 = 6,
  RM_MMA_U8 = 7,
  RM_MMA_F32 = 8,
  RM_MMA_S32 = 9,
};

/* One thread (or, with width > 1, one group of lanes) in coroutine mode. */
struct rm_thread {
  void *coroutine;        /*   0 what rm_thread_entry returned; the driver keeps it here */
  struct rm_block *block; /*   8 */
  uint32_t tid[3];        /*  16 threadIdx */
  uint32_t state;         /*  28 enum rm_thread_state */
  uint32_t op;            /*  32 */
  uint32_t mask;          /*  36 lanes named by a warp operation */
  uint64_t a, b, c;       /*  40 48 56 operands */
  uint64_t result;        /*  64 */
  uint32_t predicate;     /*  72 0 or 1 */
  uint32_t barrier;       /*  76 barrier number 0..15 */
  uint32_t barrier_count; /*  80 threads expected, 0: all of the block that live */
  uint32_t lane;          /*  84 linear thread index & 31 */
  uint32_t index;         /*  88 linear thread index */
  uint32_t reserved;      /*  92 */
  uint32_t values[32];    /*  96 operands and results of ldmatrix and mma */
}; /* 224 */

/* Runtime functions that objects call; the driver library defines them. */

/* Memory for the thread's coroutine frame, aligned to 64, called once per thread per block. */
void *rm_frame(struct rm_thread *thread, uint64_t bytes);
/* bar.arrive: one thread arrives without waiting. count: threads expected, 0 for all. */
void rm_bar_arrive(struct rm_block *block, uint32_t barrier, uint32_t count);
/* trap, brkpt: the launch fails with 719 (CUDA_ERROR_LAUNCH_FAILED). Leaves the block, never
 * returns to it. */
_Noreturn void rm_trap(struct rm_block *block);
/* Device assert(): says "file:line: function: block: [..], thread: [..] Assertion `..' failed." on
 * stderr; the launch fails with 710 (CUDA_ERROR_ASSERT). */
_Noreturn void rm_assert_fail(struct rm_block *block, const char *message, const char *file,
                              uint32_t line, const char *function, uint32_t tid_x, uint32_t tid_y,
                              uint32_t tid_z);
/* Device printf: format and an argument buffer as vprintf in PTX has it (each argument at its
 * natural alignment, float widened to double). Returns the number of arguments. */
int32_t rm_printf(struct rm_block *block, const char *format, const void *arguments);
/* Device heap; NULL when it is full. free(NULL) is allowed. */
void *rm_malloc(uint64_t bytes);
void rm_free(void *memory);
/* %globaltimer: nanoseconds. */
uint64_t rm_global_timer(void);
/* Arithmetic in a given rounding mode. Rounding: 0 nearest even, 1 down, 2 up, 3 to zero.
 * Operation: 0 a+b, 1 a-b, 2 a*b, 3 fma(a,b,c), 4 a/b, 5 sqrt(a). They leave the mode nearest. */
float rm_round_f32(uint32_t operation, uint32_t rounding, float a, float b, float c);
double rm_round_f64(uint32_t operation, uint32_t rounding, double a, double b, double c);
float rm_round_f64_to_f32(uint32_t rounding, double value);
float rm_round_i64_to_f32(uint32_t rounding, uint32_t is_signed, int64_t value);
double rm_round_i64_to_f64(uint32_t rounding, uint32_t is_signed, int64_t value);
/* Floats of 16 bits and less (narrow.c). rm_narrow rounds as above; with RM_SATFINITE, too large
 * and infinite become the largest number. rm_widen is exact. rm_odd_i64 keeps what rounding to a
 * narrow float has to know of an integer. */
enum { RM_F16, RM_BF16, RM_E4M3, RM_E5M2, RM_E2M3, RM_E3M2, RM_E2M1, RM_UE8M0 };
#define RM_SATFINITE 4u
uint32_t rm_narrow(uint32_t format, uint32_t rounding, double value);
double rm_widen(uint32_t format, uint32_t code);
double rm_odd_i64(uint32_t is_signed, int64_t value);

/* ---- 2. Module description and cache ------------------------------------------------------
 * One file: header, tables, bytes, strings. All places are byte offsets from the file's start,
 * all names are offsets into the strings (zero ended). A reader checks every offset once. */
#define RM_DESC_MAGIC 0x444d4d52u /* "RMMD" */
#define RM_DESC_NONE UINT64_MAX

struct rm_desc {
  uint32_t magic, abi;  /* RM_DESC_MAGIC, RM_KERNEL_ABI */
  uint64_t bytes;       /* of the whole file */
  uint32_t ptx_version; /* 90 for .version 9.0 */
  uint32_t target;      /* 120 for sm_120 */
  uint32_t flags;       /* RM_MODULE_* */
  uint32_t kernel_count, param_count, variable_count, reference_count, reserved;
  uint64_t kernels, params, variables, references, data, strings;
  uint64_t data_bytes, string_bytes;
}; /* 112 */
#define RM_MODULE_FUNCTIONS 1u /* has a functions object: load it before anything else */

struct rm_desc_kernel {
  uint32_t name;
  uint32_t first_param, param_count, param_bytes;
  uint32_t static_shared; /* as in rm_kernel_info */
  uint32_t local_bytes;   /* an estimate until it is compiled */
  uint32_t max_threads;   /* per block, from .maxntid or .reqntid, else 1024 */
  uint32_t reqntid[3];    /* 0 0 0: none */
  uint32_t min_blocks;    /* .minnctapersm, 0: none */
  uint32_t line;          /* where it starts in the PTX text */
}; /* 48 */

struct rm_desc_param {
  uint32_t offset, size, align, reserved;
};

struct rm_desc_variable {
  uint32_t name;
  uint32_t align;
  uint32_t space; /* RM_SPACE_* */
  uint32_t flags; /* RM_VARIABLE_* */
  uint64_t bytes;
  uint64_t init;       /* offset of `init_bytes` bytes; RM_DESC_NONE: zeros */
  uint64_t init_bytes; /* <= bytes, the rest is zeros */
  uint32_t first_reference, reference_count;
}; /* 48 */
enum { RM_SPACE_GLOBAL = 0, RM_SPACE_CONST = 1 };
#define RM_VARIABLE_EXTERN 1u /* no definition here: a load error if no linked module has it */
#define RM_VARIABLE_MANAGED 2u
#define RM_VARIABLE_LOCAL 4u /* not visible to cuModuleGetGlobal */

/* Inside a variable's initial bytes: the address of `symbol` (v.NAME or f.NAME) + addend. */
struct rm_desc_reference {
  uint64_t offset; /* from the variable's start */
  uint64_t addend;
  uint32_t symbol;
  uint16_t bytes; /* 8, 4, or 1 */
  uint16_t shift; /* address >> shift, truncated to `bytes` */
}; /* 24 */

/* Images. What is hashed and sent is one of: PTX text (a trailing zero byte is not part of it), a
 * fatbin (0xBA55ED50, header and payload), an ELF file, or several of these linked together:
 *   u32 RM_LINK_MAGIC, u32 count, then for each: u64 bytes, the image, zeros up to a multiple of 8.
 * Wrappers (0x466243b1) hold pointers: the driver follows them. A wrapper of version 2 is a list.
 *
 * Cache. Folder: $REMORA_SOFTGPU_CACHE, else $XDG_CACHE_HOME/remora/softgpu, else
 * ~/.cache/remora/softgpu. Made with mode 0700; a folder that belongs to someone else or that
 * others may write to is refused. In it:
 *   environment          what made the objects (below)
 *   service.sock, service.lock
 *   ENV/KEY.mod          a module description
 *   ENV/KEY-N.o          the object of kernel N (its index in the description)
 *   ENV/KEY-f.o          the functions object
 * The last 32 bytes of these three are the SHA-256 of what is before them: to a reader, a file that
 * is damaged is not there.
 * KEY = lower-case hex of SHA-256(options, one zero byte, image). options: text, "" today.
 * ENV = 32 hex digits, a hash of ABI, translator sources, LLVM version and CPU features.
 * Files appear by rename, complete. A reader checks owner and regular file, and touches the file
 * (futimens) when it uses it: the service removes the least recently used ones.
 *
 * environment is text, so that the driver finds ENV without starting Python:
 *   remora-softgpu ABI ENV
 *   cpu HEX                       SHA-256 of the first line of /proc/cpuinfo that starts with
 *                                 "flags" or "Features", from there to before its line feed
 *   file MTIME_NS SIZE PATH       one line for each source file of the translator and for LLVM
 * If a line does not hold (any stat differs, another CPU), ask the service: its HELLO tells ENV and
 * rewrites the file. */
#define RM_LINK_MAGIC 0x4b4c4d52u /* "RMLK" */

/* ---- 3. Compile service -------------------------------------------------------------------
 * Started by the first driver that needs it, one per user and cache folder:
 *   $REMORA_SOFTGPU_PYTHON -m remora.engine.softgpu.compiler serve --cache DIR --ready-fd N
 * It writes one line to descriptor N and closes it: "ready" (also when another service already
 * serves this folder), or the reason why it can't. Wait at most RM_SERVICE_START_MS. It detaches
 * itself (setsid), closes what it inherited and exits when nobody has asked for
 * RM_SERVICE_IDLE_S seconds; clients may keep connections open and reconnect when they are closed.
 * Socket: SOCK_STREAM at DIR/service.sock, reached as /proc/self/fd/DIRFD/service.sock (paths may
 * be long); DIR is checked (owner, mode) through the same DIRFD. Peers are checked with
 * SO_PEERCRED.
 *
 * A connection carries request, reply, request, reply. Both start with rm_service_head. */
#define RM_SERVICE_MAGIC 0x53434d52u /* "RMCS" */
#define RM_SERVICE_START_MS 20000
#define RM_SERVICE_IDLE_S 60
#define RM_SERVICE_MAX_IMAGE (1ull << 30)

struct rm_service_head {
  uint32_t magic;
  uint32_t code;  /* request: RM_ASK_*; reply: RM_SERVICE_OK, RM_SERVICE_NEED_IMAGE or a CUresult */
  uint64_t bytes; /* of the body that follows */
};

enum rm_service_ask {
  RM_ASK_HELLO = 1,    /* body: u32 RM_KERNEL_ABI, u32 0. Reply: ENV, 32 characters. */
  RM_ASK_DESCRIBE = 2, /* body: rm_ask_describe, options, image. Reply: the module description (also
                          in the cache now). */
  RM_ASK_COMPILE = 3,  /* body: rm_ask_compile. Reply: the path of the object file. */
};
#define RM_SERVICE_OK 0u
#define RM_SERVICE_NEED_IMAGE 0xffffffffu /* DESCRIBE this image (again), then ask once more */
/* Any other code is the CUresult to give (218 INVALID_PTX, 209 NO_BINARY_FOR_GPU, 200
 * INVALID_IMAGE, 2 OUT_OF_MEMORY, 999 UNKNOWN), the body is the text for the JIT error log: it
 * names the instruction and the line. */

struct rm_ask_describe {
  uint32_t options_bytes, reserved;
};

struct rm_ask_compile {
  uint8_t key[32];
  uint32_t unit; /* kernel index, or RM_UNIT_FUNCTIONS */
  uint32_t reserved;
};
#define RM_UNIT_FUNCTIONS 0xffffffffu

#endif
