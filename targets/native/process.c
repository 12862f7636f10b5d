/* Nothing in, what this process holds out: bytes, from /proc and the cgroup.
 *
 * peak_rss_bytes       VmHWM: the largest resident set of this process in its life
 * floor_rss_bytes      VmRSS before the file was loaded: the runner, the runtime's code and one sample
 * model_rss_bytes      the peak from the floor on, less the floor. Where the kernel does not let the peak be reset, it is the
 *                      life's peak, and `peak_was_reset` says so
 * pss_bytes, private_dirty_bytes, swap_bytes   at the end
 * cgroup_peak_bytes    memory.peak, only where this process is alone in its cgroup; files charged to others are missing
 */

#include "runner.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long long life_peak = -1, floor_rss = -1;
static bool was_reset;

/* A figure such as `VmRSS:   1234 kB` in bytes; -1 where it is not there. */
static long long figure(const char *path, const char *name) {
    FILE *file = fopen(path, "re");
    char line[512];
    long long kb = -1;
    size_t n = strlen(name);
    while (file && kb < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, name, n) == 0 && line[n] == ':' && sscanf(line + n + 1, "%lld kB", &kb) != 1) kb = -1;
    if (file) fclose(file);
    return kb < 0 ? -1 : kb * 1024;
}

/* Set VmHWM back to what is resident now (proc(5), clear_refs 5). */
static bool reset_peak(void) {
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (!file) return false;
    bool written = fputs("5", file) >= 0;
    return fclose(file) == 0 && written;
}

void hold_memory(void) {
    life_peak = figure("/proc/self/status", "VmHWM");
    was_reset = reset_peak();
    floor_rss = figure("/proc/self/status", "VmRSS");
}

/* -1 where others share the cgroup or the kernel (< 5.19) does not tell. */
static long long cgroup_peak(void) {
    char line[4096] = "", own[8192] = "";
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "0::", 3) == 0) snprintf(own, sizeof own, "/sys/fs/cgroup%.*s", (int)strcspn(line + 3, "\n"), line + 3);
    if (file) fclose(file);
    if (!*own) return -1;
    char *path = text_of("%s/cgroup.procs", own);
    long long pid = -1, peak = -1;
    int n = 0;
    if ((file = fopen(path, "re"))) {
        for (long long one; fscanf(file, "%lld", &one) == 1; n++) pid = one;
        fclose(file);
    }
    free(path);
    if (n != 1 || pid != getpid()) return -1;
    path = text_of("%s/memory.peak", own);
    if ((file = fopen(path, "re"))) {
        if (fscanf(file, "%lld", &peak) != 1) peak = -1;
        fclose(file);
    }
    free(path);
    return peak;
}

static void put(FILE *json, const char *name, long long bytes) {
    if (bytes < 0)
        fprintf(json, "\"%s\": null, ", name);
    else
        fprintf(json, "\"%s\": %lld, ", name, bytes);
}

void put_memory(FILE *json) {
    long long peak = figure("/proc/self/status", "VmHWM");
    put(json, "peak_rss_bytes", peak > life_peak ? peak : life_peak);
    put(json, "floor_rss_bytes", floor_rss);
    put(json, "model_rss_bytes", peak < 0 || floor_rss < 0 ? -1 : peak > floor_rss ? peak - floor_rss : 0);
    put(json, "pss_bytes", figure("/proc/self/smaps_rollup", "Pss"));
    put(json, "private_dirty_bytes", figure("/proc/self/smaps_rollup", "Private_Dirty"));
    put(json, "swap_bytes", figure("/proc/self/smaps_rollup", "Swap"));
    put(json, "cgroup_peak_bytes", cgroup_peak());
    put(json, "arena_bytes", -1); /* neither runtime tells */
    fprintf(json, "\"peak_was_reset\": %s", was_reset ? "true" : "false");
}
