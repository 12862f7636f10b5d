/* What the runner's files share: a job, its tensors, a runtime that runs its file, and the ways out. */

#ifndef EDGEKIT_RUNNER_H
#define EDGEKIT_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MAX_RANK 32
#define MAX_TENSORS 1024
#define MAX_CORES 1024
#define ALIGNMENT 64 /* bytes; what LiteRT asks of host memory */

/* An element type that numpy, ONNX and TFLite share. */
struct dtype {
    const char *name;  /* numpy's: float32 */
    const char *descr; /* in a .npy header: <f4 */
    size_t bytes;
    int onnx;   /* ONNXTensorElementDataType */
    int litert; /* LiteRtElementType */
};

/* An input or output as the job asks for it, without the dimension of the samples. */
struct tensor {
    char *name;
    const struct dtype *dtype;
    size_t rank;
    int64_t shape[MAX_RANK];
    size_t bytes; /* of one sample */
    char *path;   /* of an input's .npy */
};

/* An input or output as the file has it; a dimension below 0 is open. */
struct found {
    const char *name;
    const char *dtype;
    size_t rank;
    int64_t shape[MAX_RANK];
};

struct job {
    char *name, *mode, *format, *artifact, *library, *runtime_name, *runtime_version, *delegate;
    long threads;
    size_t n_samples; /* 0: all */
    double warm_up_min_s, warm_up_max_s, min_s;
    size_t min_runs, max_samples;
    int cores[MAX_CORES];
    size_t n_cores; /* 0: wherever the system puts it */
    size_t n_inputs, n_outputs;
    struct tensor inputs[MAX_TENSORS], outputs[MAX_TENSORS];
};

/* A runtime. Functions that return nothing end the process with a refusal where they fail. */
struct runtime {
    void (*open)(const struct job *job); /* its library, and nothing of the file */
    void (*load)(const struct job *job); /* the file: what the load time is */
    void (*bind)(const struct job *job); /* match tensors by name */
    void (*feed)(size_t input, const void *sample);
    void (*invoke)(void); /* one run: what is timed */
    const void *(*output)(size_t output);
    const char *(*version)(const struct job *job);
    void (*delegation)(const struct job *job, FILE *json);
};

extern const struct runtime litert, onnxruntime;

/* job.c */
void read_job(FILE *file, struct job *job);

/* tensor.c */
const struct dtype *dtype_named(const char *name);
const char *dtype_of_onnx(int code);
const char *dtype_of_litert(int code);
void check_boundary(const char *what, const struct tensor *asked, size_t n_asked, const struct found *found, size_t n_found);
size_t place_of(const char *name, const struct found *found, size_t n_found);

/* npy.c */
struct samples {
    int file;
    int64_t start; /* of the first sample */
    size_t n;
};
struct samples open_samples(const struct tensor *input);
void read_sample(const struct tensor *input, const struct samples *samples, size_t index, void *into);
int create_npy(const char *path, const struct tensor *output, size_t n);
void append(int file, const char *path, const void *bytes, size_t n);

/* log.c: what a library prints while it is asked something, and its crashes */
void capture(void);
void release(void);
void guard(const struct job *job, const char *doing);
void unguard(void);
const char *log_words(void);
_Noreturn void refuse_runtime(const struct job *job, const char *doing, const char *words);

/* result.c */
extern const char *folder;
void open_channel(const char *folder_path);
void say(const char *text);
void tell_samples(const char *text, const int64_t *samples, size_t n);
void tell(const char *key, const char *text);
void put_string(FILE *json, const char *text);
char *result_text(void (*fill)(FILE *json));
_Noreturn void finish(const char *text);
void prepare_refusal(const char *message);
_Noreturn void refuse_prepared(void);
_Noreturn void refuse(const char *op, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *allocated(size_t bytes);
extern const char *job_name;

/* cores.c */
size_t own_cores(int cores[MAX_CORES]);
void pin(const int *cores, size_t n);
void start_clock(void);
void read_clock(void);
void put_clock(FILE *json);
void put_cores(FILE *json);

/* timing.c */
struct warm_up {
    int64_t median_ns;
    double seconds;
    bool steady;
};
int64_t now_ns(void);
struct warm_up warm_up(void (*invoke)(void), const struct job *job);
size_t spacing(int64_t expected_ns, const struct job *job);
size_t timed(void (*invoke)(void), int64_t expected_ns, size_t every, const struct job *job, int64_t *total_ns);

/* process.c */
void hold_memory(void);
void put_memory(FILE *json);

#endif
