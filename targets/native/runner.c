/* One job on stdin, JSON lines on stdout and files in FOLDER out: runs one deployable file on this device, to check or to time it.
 *
 *     runner FOLDER < job
 *
 * The job is text (job.c), made by edgekit/native.py. The contract is that of the Python agent, targets/common/agent.py. `check` runs
 * every sample through one session, writes the outputs (FOLDER/0.npy, 1.npy, …) and tells what memory that took. `latency` warms up
 * and times. All that is told goes to the original stdout, one JSON object a line: {"text"} (progress), {"partial"} (a latency result
 * before its samples), {"samples_ns": […]} as they are measured, and at the end {"result"}: a runner that is killed, or whose
 * connection is lost, has told what it had. A refusal is {"result": {"job", "error": {"message", "op"}}}.
 */

#include "runner.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAY_NS 1000000000LL

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

/* Every sample through the one session, the outputs into files. */
static void run_samples(void) {
    int files[MAX_TENSORS];
    int64_t said = now_ns();
    for (size_t index = 0; index < job.n_samples; index++) {
        if (now_ns() - said > SAY_NS) { /* whoever waits for a word learns that it lives */
            char *text = text_of("running the samples: %zu of %zu", index, job.n_samples);
            say(text);
            free(text);
            said = now_ns();
        }
        if (index > 0) take(index);
        feed();
        if (index == 0) capture();
        runtime->invoke();
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
}

/* The outputs, and what the model adds to a process that already holds the runner, the runtime's code and one sample. */
static _Noreturn void check(void) {
    take(0);
    guard(&job, "loading");
    hold_memory();
    say("loading");
    runtime->load(&job);
    runtime->bind(&job);
    say("running the samples");
    guard(&job, "running");
    run_samples();
    finish(result_text(put_memory));
}

static struct {
    int64_t load_ns, first_ns;
    char *delegation;
    struct warm_up warm_up;
    size_t every, recorded; /* recorded: 0 before there are any */
    int64_t total_ns;       /* their sum */
} told;

static void put_latency(FILE *json) {
    fprintf(json, "\"load_ns\": %" PRId64 ", \"first_ns\": %" PRId64 ", \"runtime\": {\"name\": ", told.load_ns, told.first_ns);
    put_string(json, job.runtime_name);
    fputs(", \"version\": ", json);
    put_string(json, runtime->version(&job));
    fprintf(json, "}, \"delegate\": %s, \"cores\": ", told.delegation);
    put_cores(json);
    fprintf(json, ", \"warm_up\": {\"median_ns\": %" PRId64 ", \"seconds\": %.6f, \"steady\": %s}, \"every\": %zu", told.warm_up.median_ns,
            told.warm_up.seconds, told.warm_up.steady ? "true" : "false", told.every);
    if (!told.recorded) return;
    fprintf(json, ", \"recorded\": %zu, \"total_ns\": %" PRId64 ", \"clock\": ", told.recorded, told.total_ns);
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

/* Load, first run, warm-up, then timed runs, all on sample 0. */
static _Noreturn void latency(void) {
    take(0);
    say("loading");
    guard(&job, "loading");
    int64_t start = now_ns();
    runtime->load(&job); /* the file is in the page cache: it was just verified */
    told.load_ns = now_ns() - start;
    runtime->bind(&job);
    feed();
    guard(&job, "running");
    capture();
    start = now_ns();
    runtime->invoke();
    told.first_ns = now_ns() - start;
    release();
    for (size_t i = 0; i < job.n_outputs; i++) runtime->output(i); /* whether they are what they should be */
    told.delegation = told_delegation();
    unguard();
    say("warming up");
    told.warm_up = warm_up(runtime->invoke, &job);
    told.every = spacing(told.warm_up.median_ns, &job);
    tell("partial", result_text(put_latency));
    start_clock();
    told.recorded = timed(runtime->invoke, told.warm_up.median_ns, told.every, &job, &told.total_ns);
    finish(result_text(put_latency));
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
    if (strcmp(job.mode, "check") == 0) check();
    refuse(NULL, "the native runner has no mode '%s': edgekit and its runner are of different versions", job.mode);
}
