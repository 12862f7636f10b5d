/* One job on stdin, `FOLDER/result.json` and files out: runs one deployable file on this device, for latency or for memory.
 *
 *     runner FOLDER < job
 *
 * The job is text (job.c), made by edgekit/native.py. The contract is that of the Python agent, targets/common/agent.py: progress is
 * JSON lines on the original stdout. `latency` writes the outputs of all samples (0.npy, 1.npy, …), then result.json with
 * "complete": false, then samples.i64 (latencies in ns, little-endian int64) as it measures, then result.json whole: a runner that is
 * killed leaves what it had. A refusal is {"error": {"message", "op"}}.
 */

#include "runner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMORY_SAMPLES 5

static struct job job;
static const struct runtime *runtime;
static struct samples samples[MAX_TENSORS];
static void *one[MAX_TENSORS]; /* sample of each input */

/* The folder, without what the job before this one left in it. */
static void fresh_folder(char *path) {
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        mkdir(path, 0700);
        *at = '/';
    }
    if (mkdir(path, 0700) == 0) return;
    DIR *entries = opendir(path);
    if (!entries) refuse(NULL, "the device cannot make the folder %s (%s): free some space there and repeat the command", path, strerror(errno));
    for (struct dirent *entry; (entry = readdir(entries));) unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
}

static void open_inputs(void) {
    size_t n = SIZE_MAX;
    for (size_t i = 0; i < job.n_inputs; i++) {
        samples[i] = open_samples(&job.inputs[i]);
        one[i] = allocated(job.inputs[i].bytes);
        n = samples[i].n < n ? samples[i].n : n;
    }
    if (job.n_samples == 0) job.n_samples = job.n_inputs ? n : 1;
    if (job.n_samples > n) refuse(NULL, "there are %zu samples on the device, not %zu: run the command again", n, job.n_samples);
}

static void take(size_t index) {
    for (size_t i = 0; i < job.n_inputs; i++) read_sample(&job.inputs[i], &samples[i], index, one[i]);
}

static void feed(void) {
    for (size_t i = 0; i < job.n_inputs; i++) runtime->feed(i, one[i]);
}

/* Every sample through the one session, the outputs into files; how long the first run took. */
static int64_t run_samples(void) {
    int files[MAX_TENSORS];
    int64_t first_ns = 0;
    for (size_t index = 0; index < job.n_samples; index++) {
        take(index);
        feed();
        if (index == 0) capture();
        int64_t start = now_ns();
        runtime->invoke();
        if (index == 0) first_ns = now_ns() - start;
        if (index == 0) release();
        for (size_t i = 0; i < job.n_outputs; i++) {
            char *path = text_of("%s/%zu.npy", folder, i);
            const void *bytes = runtime->output(i);
            if (index == 0) files[i] = create_npy(path, &job.outputs[i], job.n_samples);
            append(files[i], path, bytes, job.outputs[i].bytes);
            free(path);
        }
    }
    for (size_t i = 0; i < job.n_outputs; i++) close(files[i]);
    return first_ns;
}

static int64_t load_ns, first_ns;
static char *delegation;
static struct warm_up warm;
static size_t every;
static bool complete;

static void put_latency(FILE *json) {
    fprintf(json, "\"complete\": %s, \"load_ns\": %lld, \"first_ns\": %lld, \"runtime\": {\"name\": ", complete ? "true" : "false", (long long)load_ns,
            (long long)first_ns);
    put_string(json, job.runtime_name);
    fputs(", \"version\": ", json);
    put_string(json, runtime->version(&job));
    fprintf(json, "}, \"delegate\": %s, \"cores\": ", delegation);
    put_cores(json);
    if (!complete) return;
    fprintf(json, ", \"warm_up\": {\"median_ns\": %lld, \"seconds\": %.6f, \"steady\": %s}, \"every\": %zu, \"clock\": ", (long long)warm.median_ns,
            warm.seconds, warm.steady ? "true" : "false", every);
    put_clock(json);
}

static char *told_delegation(void) {
    char *text;
    size_t n;
    FILE *json = open_memstream(&text, &n);
    if (!json) _exit(71);
    runtime->delegation(&job, json);
    fclose(json);
    return text;
}

/* Load, first run, the outputs of every sample; then warm-up, then timed runs on sample 0. */
static _Noreturn void latency(void) {
    say("loading");
    guard(&job, "loading");
    int64_t start = now_ns();
    runtime->load(&job); /* the file is in the page cache: it was just verified */
    load_ns = now_ns() - start;
    runtime->bind(&job);
    say("running the samples");
    guard(&job, "running");
    first_ns = run_samples();
    delegation = told_delegation();
    unguard();
    write_result(result_text(put_latency));
    take(0);
    feed();
    say("warming up");
    warm = warm_up(runtime->invoke, &job);
    start_clock();
    char *path = text_of("%s/samples.i64", folder);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0) refuse(NULL, "the device cannot write %s (%s): free some space there and repeat the command", path, strerror(errno));
    every = timed(runtime->invoke, warm.median_ns, &job, file);
    complete = true;
    char *text = result_text(put_latency);
    write_result(text);
    finish(text);
}

static void put_memory_result(FILE *json) {
    fputs("\"complete\": true, ", json);
    put_memory(json);
}

/* What the model adds to a process that already holds the runner, the runtime's code and one sample. */
static _Noreturn void memory(void) {
    take(0);
    guard(&job, "loading");
    hold_memory();
    say("loading");
    runtime->load(&job);
    runtime->bind(&job);
    say("measuring memory");
    guard(&job, "running");
    for (size_t index = 0; index < job.n_samples && index < MEMORY_SAMPLES; index++) {
        if (index > 0) take(index);
        feed();
        if (index == 0) capture();
        runtime->invoke();
        if (index == 0) release();
        for (size_t i = 0; i < job.n_outputs; i++) runtime->output(i);
    }
    char *text = result_text(put_memory_result);
    write_result(text);
    finish(text);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fputs("usage: runner FOLDER < job\n", stderr);
        return 64;
    }
    open_channel(argv[1]);
    fresh_folder(argv[1]);
    read_job(stdin, &job);
    if (job.n_cores) pin(job.cores, job.n_cores);
    runtime = strcmp(job.format, "tflite") == 0 ? &litert : strcmp(job.format, "onnx") == 0 ? &onnxruntime : NULL;
    if (!runtime) refuse(NULL, "the native runner runs no %s: convert to tflite or onnx", job.format);
    runtime->open(&job);
    open_inputs();
    if (strcmp(job.mode, "latency") == 0) latency();
    if (strcmp(job.mode, "memory") == 0) memory();
    refuse(NULL, "the native runner has no mode '%s': edgekit and its runner are of different versions", job.mode);
}
