/* Reads the settings from the environment, once. A value out of range falls back to the nearest
   sane one with a line on stderr. */
#define _GNU_SOURCE
#include "settings.h"
#include "device.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static sg_settings settings;

static long number(const char *name, long least, long most, long otherwise) {
  const char *text = getenv(name);
  if (!text || !*text) return otherwise;
  char *end;
  long value = strtol(text, &end, 10);
  if (*end == 0 && value >= least && value <= most) return value;
  fprintf(stderr, "softgpu: %s=%s is not a number from %ld to %ld; using %ld\n", name, text, least,
          most, otherwise);
  return otherwise;
}

static int processors_here(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return 1;
}

static long default_memory_mib(void) {
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  long half = pages / 2 * (page / 1024) / 1024;
  return half > 16 ? half : 16;
}

static void read_settings(void) {
  settings.devices = (int)number("REMORA_SOFTGPU_DEVICES", 1, SG_MAX_DEVICES, 1);
  long mib = number("REMORA_SOFTGPU_MEMORY_MIB", 16, 512 * 1024, default_memory_mib());
  settings.memory_bytes = (size_t)mib << 20;
  settings.visible = number("REMORA_SOFTGPU_VISIBLE", 0, 1, 1);
  settings.launch_us = (int)number("REMORA_SOFTGPU_LAUNCH_US", 0, 10000000, 0);
  settings.copy_mib_s = (int)number("REMORA_SOFTGPU_COPY_MIB_S", 0, 1000000, 0);
  if (settings.copy_mib_s) settings.visible = false;
  settings.workers = (int)number("REMORA_SOFTGPU_WORKERS", 1, 256, processors_here());
  settings.processors = (int)number("REMORA_SOFTGPU_SMS", 1, 256, settings.workers);
  settings.clock_khz = (int)number("REMORA_SOFTGPU_CLOCK_MHZ", 1, 10000, 1000) * 1000;
  settings.capability = (int)number("REMORA_SOFTGPU_CAPABILITY", 75, 199, 120);
  settings.driver_version = (int)number("REMORA_DRIVER_VERSION", 11000, 99999, SG_DRIVER_VERSION);
  const char *python = getenv("REMORA_SOFTGPU_PYTHON");
  settings.python = python && *python ? python : "python3";
  const char *cache = getenv("REMORA_SOFTGPU_CACHE");
  settings.cache = cache && *cache ? cache : NULL;
}

const sg_settings *sg_config(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, read_settings);
  return &settings;
}
