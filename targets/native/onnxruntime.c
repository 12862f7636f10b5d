/* An ONNX file in, ONNX Runtime's session on the CPU out: sequential, all graph optimisations, its default spinning of threads.
 *
 * libonnxruntime.so, as it lies in the wheel of onnxruntime. Inputs lie in memory of our own; outputs are allocated by the runtime
 * in each run, as its Python interface has it done, and let go before the next one.
 */

#include "onnxruntime_api.h"
#include "runner.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define DECLARE(place, result, name, arguments) static result(*name) arguments;
ORT_FUNCTIONS(DECLARE)

static const struct job *doing_for;
static const char *library_version;
static Handle *session, *values[MAX_TENSORS], *returned[MAX_TENSORS];
static const char *names[MAX_TENSORS], *wanted[MAX_TENSORS];
static void *memory[MAX_TENSORS];

static void check(const char *doing, Status *status) {
    if (status) refuse_runtime(doing_for, doing, GetErrorMessage(status));
}

static void open_library(const struct job *job) {
    doing_for = job;
    if (job->delegate && strcmp(job->delegate, "cpu") != 0)
        refuse(NULL, "ONNX Runtime has no delegate '%s' here, only cpu: leave out --delegate", job->delegate);
    setenv("ORT_DISABLE_TELEMETRY", "1", 1);
    void *library = dlopen(job->library, RTLD_NOW | RTLD_LOCAL);
    if (!library) refuse(NULL, "ONNX Runtime cannot be loaded on this device (%s): use a device with a newer system, or another runner", dlerror());
    const struct api_base *(*base)(void);
    *(void **)&base = dlsym(library, "OrtGetApiBase");
    const void *const *table = base ? base()->get_api(API_VERSION) : NULL;
    if (!table) refuse(NULL, "the ONNX Runtime on the device has no C interface: edgekit and its runner are of different versions");
    library_version = base()->get_version();
#define LOOK_UP(place, result, name, arguments) *(const void **)&name = table[place];
    ORT_FUNCTIONS(LOOK_UP)
}

static void load(const struct job *job) {
    Handle *environment, *options;
    capture();
    check("loading", CreateEnv(LOG_ERROR, "edgekit", &environment));
    check("loading", DisableTelemetryEvents(environment));
    check("loading", CreateSessionOptions(&options));
    check("loading", SetIntraOpNumThreads(options, (int)job->threads));
    check("loading", SetInterOpNumThreads(options, 1));
    check("loading", SetSessionExecutionMode(options, SEQUENTIAL));
    check("loading", CreateSession(environment, job->artifact, options, &session));
    release();
}

/* Rank, shape and type of what `tensor` describes. */
static void describe(const Handle *tensor, struct found *found) {
    int type = 0;
    size_t rank = 0;
    check("loading", GetTensorElementType(tensor, &type));
    check("loading", GetDimensionsCount(tensor, &rank));
    if (rank > MAX_RANK) refuse(NULL, "the file's '%s' has %zu dimensions, more than %d: use a model without it", found->name, rank, MAX_RANK);
    check("loading", GetDimensions(tensor, found->shape, rank));
    found->dtype = dtype_of_onnx(type);
    found->rank = rank;
}

struct side {
    const char *what;
    Status *(*count)(const Handle *, size_t *);
    Status *(*name)(const Handle *, size_t, Handle *, char **);
    Status *(*type)(const Handle *, size_t, Handle **);
};

static void check_side(const struct side *side, const struct tensor *asked, size_t n_asked) {
    static struct found found[MAX_TENSORS];
    size_t n = 0;
    Handle *allocator, *type;
    const Handle *tensor;
    check("loading", side->count(session, &n));
    if (n > MAX_TENSORS) refuse(NULL, "the file has %zu %ss, more than %d: use a model with fewer", n, side->what, MAX_TENSORS);
    check("loading", GetAllocatorWithDefaultOptions(&allocator));
    for (size_t i = 0; i < n; i++) {
        char *name;
        check("loading", side->name(session, i, allocator, &name));
        check("loading", side->type(session, i, &type));
        check("loading", CastTypeInfoToTensorInfo(type, &tensor));
        found[i].name = name;
        if (!tensor) refuse(NULL, "the file's %s '%s' is no tensor: convert the model without sequences and maps", side->what, name);
        describe(tensor, &found[i]);
    }
    check_boundary(side->what, asked, n_asked, found, n);
}

static void bind(const struct job *job) {
    const struct side there = {"input", SessionGetInputCount, SessionGetInputName, SessionGetInputTypeInfo};
    const struct side back = {"output", SessionGetOutputCount, SessionGetOutputName, SessionGetOutputTypeInfo};
    check_side(&there, job->inputs, job->n_inputs);
    check_side(&back, job->outputs, job->n_outputs);
    Handle *info;
    check("loading", CreateCpuMemoryInfo(ARENA_ALLOCATOR, MEMORY_DEFAULT, &info));
    for (size_t i = 0; i < job->n_inputs; i++) {
        const struct tensor *input = &job->inputs[i];
        names[i] = input->name;
        memory[i] = allocated(input->bytes);
        check("loading", CreateTensorWithDataAsOrtValue(info, memory[i], input->bytes, input->shape, input->rank, input->dtype->onnx, &values[i]));
    }
    for (size_t i = 0; i < job->n_outputs; i++) wanted[i] = job->outputs[i].name;
}

static void feed(size_t input, const void *sample) { memcpy(memory[input], sample, doing_for->inputs[input].bytes); }

static void invoke(void) {
    for (size_t i = 0; i < doing_for->n_outputs; i++)
        if (returned[i]) {
            ReleaseValue(returned[i]);
            returned[i] = NULL;
        }
    Status *status =
        Run(session, NULL, names, (const Handle *const *)values, doing_for->n_inputs, wanted, doing_for->n_outputs, returned);
    if (status) check("running", status);
}

/* The output's bytes, after a look at what really came back: a file can lie about its shapes. */
static const void *output(size_t place) {
    Handle *tensor;
    void *data;
    struct found found = {.name = wanted[place]};
    check("running", GetTensorTypeAndShape(returned[place], &tensor));
    describe(tensor, &found);
    ReleaseTensorTypeAndShapeInfo(tensor);
    check_boundary("output", &doing_for->outputs[place], 1, &found, 1);
    check("running", GetTensorMutableData(returned[place], &data));
    return data;
}

static const char *version(const struct job *job) {
    (void)job;
    return library_version;
}

/* Every op runs by the one provider that there is; how many there are after the optimisations ONNX Runtime does not tell. */
static void delegation(const struct job *job, FILE *json) {
    (void)job;
    fputs("{\"asked\": \"CPUExecutionProvider\", \"ran\": \"CPUExecutionProvider\", \"ops\": null, \"outside\": null}", json);
}

const struct runtime onnxruntime = {open_library, load, bind, feed, invoke, output, version, delegation};
