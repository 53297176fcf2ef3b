//===- AvailableThreads.cpp - How many threads the process may use --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadPool.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#endif

using namespace marver;

#if defined(__linux__)

/// CPUs of the affinity mask, for any number of CPUs in the machine.
static int affinityThreads() {
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t *set = CPU_ALLOC(static_cast<size_t>(cpus));
    if (!set)
      return 0;
    size_t size = CPU_ALLOC_SIZE(static_cast<size_t>(cpus));
    int count =
        sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0)
      return count;
  }
  return 0;
}

/// Reads a small file of /proc or /sys; false if there is none.
static bool readText(const char *path, char *text, size_t size) {
  FILE *file = fopen(path, "re");
  if (!file)
    return false;
  size_t length = fread(text, 1, size - 1, file);
  fclose(file);
  text[length] = '\0';
  return length > 0;
}

/// Reads one or two numbers; what is not there (or is `max`) stays as it is.
static void parseNumbers(const char *text, long long &first,
                         long long &second) {
  char *end;
  long long value = strtoll(text, &end, 10);
  if (end == text)
    return;
  first = value;
  text = end;
  value = strtoll(text, &end, 10);
  if (end != text)
    second = value;
}

/// Whole CPUs that `quota` in each `period` makes, rounded up; 0: no limit.
static int quotaThreads(long long quota, long long period) {
  if (quota <= 0 || period <= 0)
    return 0;
  return static_cast<int>((quota + period - 1) / period);
}

static int smallerLimit(int a, int b) {
  return a == 0 || (b != 0 && b < a) ? b : a;
}

/// The limit that the group at `group` and those above it set, in the layout of
/// version 2 (`cpu.max`) or 1 (`cpu.cfs_quota_us`).
static int groupThreads(const char *mount, char *group, bool version2) {
  int limit = 0;
  for (;;) {
    char path[4200], text[128];
    long long quota = -1, period = -1, unused;
    if (version2) {
      snprintf(path, sizeof(path), "%s%s/cpu.max", mount, group);
      if (readText(path, text, sizeof(text)))
        parseNumbers(text, quota, period);
    } else {
      snprintf(path, sizeof(path), "%s%s/cpu.cfs_quota_us", mount, group);
      if (readText(path, text, sizeof(text)))
        parseNumbers(text, quota, unused);
      snprintf(path, sizeof(path), "%s%s/cpu.cfs_period_us", mount, group);
      if (readText(path, text, sizeof(text)))
        parseNumbers(text, period, unused);
    }
    limit = smallerLimit(limit, quotaThreads(quota, period));
    char *slash = strrchr(group, '/');
    if (!slash)
      return limit;
    *slash = '\0';
  }
}

static int cgroupThreads() {
  FILE *file = fopen("/proc/self/cgroup", "re");
  if (!file)
    return 0;
  int limit = 0;
  char line[4096];
  while (fgets(line, sizeof(line), file)) {
    line[strcspn(line, "\n")] = '\0';
    // "0::/path" is version 2; "4:cpu,cpuacct:/path" is version 1.
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : nullptr;
    if (!group)
      continue;
    *group++ = '\0';
    ++controllers;
    // Inside a container the path may be the host's: the mount's own root
    // (the last one looked at) is what holds there.
    if (*controllers == '\0')
      limit = smallerLimit(limit, groupThreads("/sys/fs/cgroup", group,
                                               /*version2=*/true));
    else if (strcmp(controllers, "cpu") == 0 ||
             strncmp(controllers, "cpu,", 4) == 0 ||
             strstr(controllers, ",cpu,") ||
             (strlen(controllers) > 4 &&
              strcmp(controllers + strlen(controllers) - 4, ",cpu") == 0))
      limit = smallerLimit(limit, groupThreads("/sys/fs/cgroup/cpu", group,
                                               /*version2=*/false));
  }
  fclose(file);
  return limit;
}

#endif

int marver::availableThreads() {
  int threads = 0;
#if defined(__linux__)
  threads = smallerLimit(affinityThreads(), cgroupThreads());
#endif
  if (threads <= 0)
    threads = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return threads < 1 ? 1 : threads > 1024 ? 1024 : threads;
}
