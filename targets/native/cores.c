/* The processors that this process runs on, and their frequencies over time. */

#include "runner.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Reading a frequency wakes the governor: rarely enough not to be seen in the figures. */
#define EVERY_NS 5000000000LL

size_t own_cores(int cores[MAX_CORES]) {
    cpu_set_t set;
    size_t n = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
    for (int cpu = 0; cpu < MAX_CORES && cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set)) cores[n++] = cpu;
    return n;
}

static char *list_of(const int *cores, size_t n) {
    char *text = text_of("[");
    for (size_t i = 0; i < n; i++) {
        char *longer = text_of("%s%s%d", text, i ? ", " : "", cores[i]);
        free(text);
        text = longer;
    }
    return text_of("%s]", text);
}

/* Run on these processors only, or refuse; threads that are started later inherit it. */
void pin(const int *cores, size_t n) {
    cpu_set_t wanted, got;
    CPU_ZERO(&wanted);
    CPU_ZERO(&got);
    for (size_t i = 0; i < n; i++) CPU_SET(cores[i], &wanted);
    const char *cause = sched_setaffinity(0, sizeof wanted, &wanted) != 0 ? strerror(errno) : NULL;
    sched_getaffinity(0, sizeof got, &got);
    if (!cause && !CPU_EQUAL(&wanted, &got)) cause = "some of them are not allowed or not there";
    if (cause) refuse(NULL, "the device does not let a process run on cores %s (%s): name others with --cores", list_of(cores, n), cause);
}

void put_cores(FILE *json) {
    int cores[MAX_CORES];
    size_t n = own_cores(cores);
    fputs(list_of(cores, n), json);
}

static int64_t started, due;
static char *samples;

void start_clock(void) {
    started = due = now_ns();
    samples = text_of("%s", "");
}

/* Take the frequencies, if it is time to; a processor that does not tell is left out. */
void read_clock(void) {
    int64_t now = now_ns();
    if (now < due) return;
    due = now + EVERY_NS;
    int cores[MAX_CORES];
    size_t n = own_cores(cores);
    for (size_t i = 0; i < n; i++) {
        char *path = text_of("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", cores[i]);
        FILE *file = fopen(path, "re");
        free(path);
        long khz = 0;
        if (!file) continue;
        if (fscanf(file, "%ld", &khz) == 1 && khz > 0) {
            char *longer = text_of("%s%s[%lld, %d, %ld]", samples, *samples ? ", " : "", (long long)((now - started + 500000) / 1000000), cores[i], khz);
            free(samples);
            samples = longer;
        }
        fclose(file);
    }
}

/* [[elapsed_ms, cpu, kHz], …] */
void put_clock(FILE *json) { fprintf(json, "[%s]", samples); }
