/* A job as text in, a `struct job` out: one `key value` a line, in values `\\` for a backslash and `\n` for a line's end. */

#include "runner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE (1 << 20)

static const char *unescaped(char *text) {
    char *to = text;
    for (char *from = text; *from; from++) {
        if (*from == '\\' && from[1]) {
            from++;
            *to++ = *from == 'n' ? '\n' : *from;
        } else {
            *to++ = *from;
        }
    }
    *to = 0;
    return text;
}

static double number(const char *key, const char *text, double least, double most) {
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (errno || end == text || *end || !(value >= least && value <= most))
        refuse(NULL, "the job's %s is '%s', not a number from %g to %g: edgekit and its runner are of different versions", key, text, least, most);
    return value;
}

/* "1,28,28,1", or "-" for a single number; fills the shape and the bytes of one sample. */
static void read_shape(struct tensor *tensor, char *text) {
    size_t bytes = tensor->dtype->bytes;
    for (char *rest = text, *part; strcmp(text, "-") != 0 && (part = strsep(&rest, ","));) {
        if (tensor->rank == MAX_RANK) refuse(NULL, "the job has a tensor of more than %d dimensions: use a model without it", MAX_RANK);
        int64_t size = (int64_t)number("shape", part, 0, 1e15);
        tensor->shape[tensor->rank++] = size;
        if (__builtin_mul_overflow(bytes, (size_t)size, &bytes) || bytes > (size_t)1 << 40)
            refuse(NULL, "the job has a tensor of more than 1 TB: use a smaller model");
    }
    tensor->bytes = bytes;
}

/* `DTYPE SHAPE [PATH]`; its name comes on the next line. */
static void read_tensor(struct tensor *tensors, size_t *n, char *text, bool with_path) {
    if (*n == MAX_TENSORS) refuse(NULL, "the job has more than %d inputs or outputs: use a model with fewer", MAX_TENSORS);
    struct tensor *tensor = &tensors[(*n)++];
    char *dtype = strsep(&text, " "), *shape = text ? strsep(&text, " ") : NULL;
    if (!shape || (with_path && !text)) refuse(NULL, "the job has a tensor that is cut short: edgekit and its runner are of different versions");
    tensor->dtype = dtype_named(dtype);
    if (!tensor->dtype) refuse(NULL, "the job has a tensor of the type '%s', which the runner does not know: use a model without it", dtype);
    read_shape(tensor, shape);
    tensor->name = text_of("?");
    tensor->path = text ? text_of("%s", text) : NULL;
}

static void name_last(struct tensor *tensors, size_t n, const char *name) {
    if (!n) refuse(NULL, "the job names a tensor before it is described: edgekit and its runner are of different versions");
    tensors[n - 1].name = text_of("%s", name);
}

static void read_cores(struct job *job, char *text) {
    for (char *rest = text, *part; (part = strsep(&rest, ","));) {
        if (job->n_cores == MAX_CORES) refuse(NULL, "the job names more than %d cores: name fewer with --cores", MAX_CORES);
        job->cores[job->n_cores++] = (int)number("cores", part, 0, MAX_CORES - 1);
    }
}

static void read_entry(struct job *job, const char *key, char *value) {
    struct {
        const char *key;
        char **into;
    } texts[] = {
        {"job", &job->name},         {"mode", &job->mode},         {"format", &job->format},
        {"artifact", &job->artifact}, {"library", &job->library}, {"runtime_name", &job->runtime_name},
        {"delegate", &job->delegate}, {"runtime_version", &job->runtime_version},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(key, texts[i].key) == 0) {
            *texts[i].into = text_of("%s", value);
            if (texts[i].into == &job->name) job_name = job->name;
            return;
        }
    if (strcmp(key, "input") == 0) return read_tensor(job->inputs, &job->n_inputs, value, true);
    if (strcmp(key, "output") == 0) return read_tensor(job->outputs, &job->n_outputs, value, false);
    if (strcmp(key, "input_name") == 0) return name_last(job->inputs, job->n_inputs, value);
    if (strcmp(key, "output_name") == 0) return name_last(job->outputs, job->n_outputs, value);
    if (strcmp(key, "cores") == 0) return read_cores(job, value);
    if (strcmp(key, "threads") == 0) job->threads = (long)number(key, value, 1, 1024);
    if (strcmp(key, "n_samples") == 0) job->n_samples = (size_t)number(key, value, 0, 1e12);
    if (strcmp(key, "warm_up_min_s") == 0) job->warm_up_min_s = number(key, value, 0, 1e6);
    if (strcmp(key, "warm_up_max_s") == 0) job->warm_up_max_s = number(key, value, 0, 1e6);
    if (strcmp(key, "min_s") == 0) job->min_s = number(key, value, 0, 1e6);
    if (strcmp(key, "min_runs") == 0) job->min_runs = (size_t)number(key, value, 0, 1e12);
    if (strcmp(key, "max_samples") == 0) job->max_samples = (size_t)number(key, value, 1, 1e12);
}

/* Keys that the runner does not know are passed over. */
void read_job(FILE *file, struct job *job) {
    memset(job, 0, sizeof *job);
    job->threads = 1;
    job->max_samples = 16384;
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t n; (n = getline(&line, &capacity, file)) >= 0;) {
        if (n > MAX_LINE) refuse(NULL, "the job has a line of %zd bytes: use shorter names", n);
        if (n && line[n - 1] == '\n') line[n - 1] = 0;
        char *value = strchr(line, ' ');
        if (!value) continue;
        *value++ = 0;
        unescaped(value);
        read_entry(job, line, value);
    }
    free(line);
    if (!job->name || !job->mode || !job->format || !job->artifact || !job->library || !job->runtime_name || !job->runtime_version)
        refuse(NULL, "the job is cut short: edgekit and its runner are of different versions");
}
