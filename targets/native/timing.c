/* Runs in, durations out: warm-up until steady, then single runs timed in blocks. */

#include "runner.h"

#include <stdlib.h>
#include <time.h>

#define WINDOW_NS 100000000LL
#define STEADY 1.02
#define FLUSH_NS 250000000LL
#define MAX_BLOCK 4096

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, by_size);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* The median of the runs that 0.1 s holds, at least 3. */
static double window(void (*invoke)(void)) {
    static double *runs;
    static size_t capacity;
    size_t n = 0;
    for (int64_t opened = now_ns(); n < 3 || now_ns() - opened < WINDOW_NS; n++) {
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 4096;
            runs = realloc(runs, capacity * sizeof *runs);
            if (!runs) refuse(NULL, "memory ran out on the device: close other programs there or use a smaller model");
        }
        int64_t start = now_ns();
        invoke();
        runs[n] = (double)(now_ns() - start);
    }
    return median(runs, n);
}

/* Run until steady: the medians of three windows in a row within 2 %; or until the time cap. */
struct warm_up warm_up(void (*invoke)(void), const struct job *job) {
    double last[3] = {0, 0, 0};
    int64_t started = now_ns();
    for (size_t n = 1;; n++) {
        last[n % 3] = window(invoke);
        double took_s = (double)(now_ns() - started) / 1e9, least = last[0], most = last[0];
        for (int i = 1; i < 3; i++) {
            least = last[i] < least ? last[i] : least;
            most = last[i] > most ? last[i] : most;
        }
        bool steady = n >= 3 && most <= STEADY * least;
        if (took_s >= job->warm_up_max_s || (steady && took_s >= job->warm_up_min_s))
            return (struct warm_up){(int64_t)last[n % 3], took_s, steady};
    }
}

/* k, where every k-th run is recorded: 1 unless more than `max_samples` runs fit the time. */
size_t spacing(int64_t expected_ns, const struct job *job) {
    double wanted = job->min_s * 1e9 / (double)(expected_ns < 1 ? 1 : expected_ns) / (double)job->max_samples + 0.5;
    return wanted < 1 ? 1 : (size_t)wanted;
}

/* Time single runs on fixed inputs and tell them as they come; returns how many, and their sum. */
size_t timed(void (*invoke)(void), int64_t expected_ns, size_t every, const struct job *job, int64_t *total_ns) {
    int64_t block = FLUSH_NS / ((expected_ns < 1 ? 1 : expected_ns) * (int64_t)every);
    block = block < 1 ? 1 : block > MAX_BLOCK ? MAX_BLOCK : block;
    static int64_t buffer[MAX_BLOCK];
    size_t recorded = 0;
    for (int64_t started = now_ns();;) {
        for (int64_t i = 0; i < block; i++) {
            for (size_t skipped = 1; skipped < every; skipped++) invoke();
            int64_t start = now_ns();
            invoke();
            buffer[i] = now_ns() - start;
        }
        for (int64_t i = 0; i < block; i++) *total_ns += buffer[i];
        recorded += (size_t)block;
        read_clock();
        double took_s = (double)(now_ns() - started) / 1e9;
        char *text = text_of("measuring: %zu runs in %.0f s", recorded * every, took_s);
        tell_samples(text, buffer, (size_t)block);
        free(text);
        if (recorded >= job->min_runs && took_s >= job->min_s) return recorded;
    }
}
