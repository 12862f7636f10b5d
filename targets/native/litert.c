/* A TFLite file in, LiteRT with the file compiled for the CPU (XNNPACK) out: libLiteRt.so, as it lies in the wheel of ai-edge-litert. */

#include "litert_api.h"
#include "runner.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define DECLARE(name, arguments) static Status(*name) arguments;
LITERT_FUNCTIONS(DECLARE)
static void (*DestroyCompiledModel)(Handle compiled);

static const struct job *doing_for;
static Handle environment, model, compiled, signature, subgraph;
static Handle inputs[MAX_TENSORS], outputs[MAX_TENSORS]; /* in the file's order */
static size_t signature_place, n_inputs, n_outputs, n_ops;
static size_t into[MAX_TENSORS], out_of[MAX_TENSORS]; /* the job's order → the file's */

static void open_library(const struct job *job) {
    doing_for = job;
    if (job->delegate && strcmp(job->delegate, "xnnpack") != 0)
        refuse(NULL, "LiteRT has no delegate '%s' here, only xnnpack: leave out --delegate, or use a runner that has it (--runner benchmark_model)",
               job->delegate);
    void *library = dlopen(job->library, RTLD_NOW | RTLD_LOCAL);
    if (!library) refuse(NULL, "LiteRT cannot be loaded on this device (%s): use a device with a newer system, or another runner", dlerror());
#define LOOK_UP(name, arguments)                                                                                                        \
    if (!(*(void **)&name = dlsym(library, "LiteRt" #name)))                                                                            \
        refuse(NULL, "the LiteRT on the device lacks LiteRt" #name ": edgekit and its runner are of different versions");
    LITERT_FUNCTIONS(LOOK_UP)
    *(void **)&DestroyCompiledModel = dlsym(library, "LiteRtDestroyCompiledModel");
}

/* The name of the first op that is not TFLite's own, else NULL. */
static const char *custom_op(void) {
    for (size_t i = 0; subgraph && i < n_ops; i++) {
        Handle op;
        int code;
        const char *name;
        if (GetSubgraphOp(subgraph, i, &op) == 0 && GetOpCode(op, &code) == 0 && code == OP_CUSTOM && GetCustomCode(op, &name) == 0 && *name) return name;
    }
    return NULL;
}

/* A captured call that failed: the library's words, and what it left unsaid. */
static _Noreturn void fail(const char *doing, Status status) {
    const char *words = log_words(), *custom = custom_op();
    /* ops that only a GPU has are taken when the file is loaded and fail when they run, without their name */
    if (custom && strstr(words, "Stub operation")) refuse_runtime(doing_for, doing, text_of("custom op: %s is not there for the CPU", custom));
    refuse_runtime(doing_for, doing, *words ? words : text_of("status %d%s", status, status == 501 ? ", the file is cut short or no TFLite file" : ""));
}

/* Within a capture; the log is for what matters. */
static void check(Status status) {
    if (status != 0) fail("loading", status);
}

static void add_options(Handle options, const char *name, char *toml) {
    Handle opaque;
    check(CreateOpaqueOptions(name, toml, free, &opaque));
    check(AddOpaqueOptions(options, opaque));
}

static Handle compile(const struct job *job, bool profiling) {
    Handle options, made;
    check(CreateOptions(&options));
    check(SetOptionsHardwareAccelerators(options, ACCELERATOR_CPU));
    add_options(options, "xnnpack", text_of("num_threads = %ld\n", job->threads));
    add_options(options, "runtime_options_string", text_of("enable_profiling = %s\nerror_reporter_mode = 1\n", profiling ? "true" : "false"));
    check(CreateCompiledModel(environment, model, options, &made));
    return made;
}

static void load(const struct job *job) {
    capture();
    /* otherwise it looks for libraries of GPUs and NPUs wherever the system has some */
    const struct environment_option cpu_only = {OPTION_AUTO_REGISTER, {VALUE_INT, ACCELERATOR_CPU}};
    check(CreateEnvironment(1, &cpu_only, &environment));
    check(CreateModelFromFile(environment, job->artifact, &model));
    compiled = compile(job, false);
    release();
}

/* The signature `serving_default`, or the first one: a file without any has one with the tensors' own names. */
static void choose_signature(void) {
    size_t n = 0;
    check(GetNumModelSignatures(model, &n));
    for (size_t i = 0; i < n; i++) {
        const char *key;
        check(GetModelSignature(model, i, &signature));
        check(GetSignatureKey(signature, &key));
        if (strcmp(key, "serving_default") == 0) signature_place = i;
    }
    check(GetModelSignature(model, signature_place, &signature));
    check(GetSignatureSubgraph(signature, &subgraph));
    check(GetNumSubgraphOps(subgraph, &n_ops));
}

struct side {
    const char *what;
    Status (*count)(Handle, size_t *), (*count_names)(Handle, size_t *), (*name)(Handle, size_t, const char **);
    Status (*by_name)(Handle, size_t, Handle *), (*by_place)(Handle, size_t, Handle *), (*requirements)(Handle, size_t, size_t, Handle *);
};

static size_t described(const struct side *side, struct found *found, struct ranked_type *types) {
    size_t n = 0, named = 0;
    check(side->count(subgraph, &n));
    check(side->count_names(signature, &named));
    if (n > MAX_TENSORS || named != n) refuse(NULL, "the file has %zu %ss, %zu of them with names: convert the model again", n, side->what, named);
    for (size_t i = 0; i < n; i++) {
        Handle tensor, other;
        check(side->by_place(subgraph, i, &tensor));
        found[i].name = "";
        for (size_t j = 0; j < named; j++) { /* a signature need not keep the order in which the file takes its tensors */
            check(side->by_name(signature, j, &other));
            if (other == tensor) check(side->name(signature, j, &found[i].name));
        }
        if (GetRankedTensorType(tensor, &types[i]) != 0 || types[i].rank > 8)
            refuse(NULL, "the file's %s '%s' has an open number of dimensions: convert the model again", side->what, found[i].name);
        found[i].dtype = dtype_of_litert(types[i].element_type);
        found[i].rank = types[i].rank;
        for (size_t d = 0; d < found[i].rank; d++) found[i].shape[d] = types[i].dimensions[d];
    }
    return n;
}

static size_t bind_side(const struct side *side, const struct tensor *asked, size_t n_asked, Handle *buffers, size_t *places) {
    static struct found found[MAX_TENSORS];
    static struct ranked_type types[MAX_TENSORS];
    size_t n = described(side, found, types);
    check_boundary(side->what, asked, n_asked, found, n);
    bool taken[MAX_TENSORS] = {false};
    for (size_t i = 0; i < n_asked; i++) {
        size_t place = places[i] = place_of(asked[i].name, found, n), bytes = 0;
        if (taken[place]) refuse(NULL, "the job asks for the file's %s '%s' twice: convert the model again", side->what, asked[i].name);
        taken[place] = true;
        for (size_t d = 0; d < asked[i].rank; d++) types[place].dimensions[d] = (int32_t)asked[i].shape[d];
        Handle requirements;
        check(side->requirements(compiled, signature_place, place, &requirements));
        check(CreateManagedTensorBufferFromRequirements(environment, &types[place], requirements, &buffers[place]));
        check(GetTensorBufferSize(buffers[place], &bytes));
        if (bytes < asked[i].bytes)
            refuse(NULL, "LiteRT holds %zu bytes for the %s '%s', not %zu: convert the model with fixed shapes", bytes, side->what, asked[i].name,
                   asked[i].bytes);
    }
    return n;
}

static void bind(const struct job *job) {
    capture();
    choose_signature();
    const struct side there = {"input", GetNumSubgraphInputs, GetNumSignatureInputs, GetSignatureInputName, GetSignatureInputTensorByIndex,
                               GetSubgraphInput, GetCompiledModelInputBufferRequirements};
    const struct side back = {"output", GetNumSubgraphOutputs, GetNumSignatureOutputs, GetSignatureOutputName, GetSignatureOutputTensorByIndex,
                              GetSubgraphOutput, GetCompiledModelOutputBufferRequirements};
    n_inputs = bind_side(&there, job->inputs, job->n_inputs, inputs, into);
    n_outputs = bind_side(&back, job->outputs, job->n_outputs, outputs, out_of);
    release();
}

static void run(Handle which) {
    Status status = RunCompiledModel(which, signature_place, n_inputs, inputs, n_outputs, outputs);
    if (status != 0) fail("running", status);
}

static void feed(size_t input, const void *sample) {
    void *memory;
    if (LockTensorBuffer(inputs[into[input]], &memory, LOCK_WRITE) != 0) fail("running", -1);
    memcpy(memory, sample, doing_for->inputs[input].bytes);
    UnlockTensorBuffer(inputs[into[input]]);
}

static void invoke(void) { run(compiled); }

static const void *output(size_t place) {
    void *memory;
    if (LockTensorBuffer(outputs[out_of[place]], &memory, LOCK_READ) != 0) fail("running", -1);
    UnlockTensorBuffer(outputs[out_of[place]]); /* host memory stays where it is */
    return memory;
}

static const char *version(const struct job *job) { return job->runtime_version; }

/* Which ops ran, and for how long, in one run under the profiler. */
struct profile {
    size_t n; /* kinds of ops outside the delegate */
    struct {
        char *op;
        size_t count;
    } outside[PROFILER_ENTRIES];
    uint64_t outside_us, all_us;
    bool delegated;
};

static void count_event(struct profile *profile, const struct profiled_event *event) {
    bool delegated = event->type == EVENT_DELEGATE_PROFILED_OPERATOR_INVOKE; /* in place of the delegate's own node */
    if (!delegated && event->type != EVENT_OPERATOR_INVOKE) return;
    profile->all_us += event->elapsed_us;
    profile->delegated |= delegated;
    if (delegated || !event->tag) return;
    profile->outside_us += event->elapsed_us;
    size_t at = 0;
    while (at < profile->n && strcmp(profile->outside[at].op, event->tag) != 0) at++;
    if (at == profile->n) profile->outside[profile->n++].op = text_of("%s", event->tag);
    profile->outside[at].count++;
}

/* Profile a second copy of the file, so that the measured one runs without the profiler. False where it does not tell. */
static bool read_profile(const struct job *job, struct profile *profile) {
    Handle profiler, copy;
    int n = 0;
    capture();
    copy = compile(job, true);
    run(copy); /* the first run prepares */
    bool told = CompiledModelGetProfiler(copy, &profiler) == 0 && profiler && StartProfiler(profiler) == 0;
    if (told) run(copy);
    told = told && StopProfiler(profiler) == 0 && GetNumProfilerEvents(profiler, &n) == 0 && n > 0 && n < PROFILER_ENTRIES;
    struct profiled_event *events = told ? allocated((size_t)n * sizeof *events) : NULL;
    told = told && GetProfilerEvents(profiler, n, events) == 0;
    for (int i = 0; told && i < n; i++) count_event(profile, &events[i]);
    free(events);
    if (DestroyCompiledModel) DestroyCompiledModel(copy);
    release();
    return told;
}

static void delegation(const struct job *job, FILE *json) {
    static struct profile profile;
    bool fully = false, told = CompiledModelIsFullyAccelerated(compiled, &fully) == 0;
    if (told && !fully) told = read_profile(job, &profile);
    bool delegated = !told || fully || profile.delegated;
    fprintf(json, "{\"asked\": \"XNNPACK\", \"ran\": \"%s\", \"ops\": %zu, \"outside\": %s", delegated ? "XNNPACK" : "none", n_ops, told ? "{" : "null");
    for (size_t i = 0; told && i < profile.n; i++) {
        fputs(i ? ", " : "", json);
        put_string(json, profile.outside[i].op);
        fprintf(json, ": %zu", profile.outside[i].count);
    }
    fputs(told ? "}" : "", json);
    if (told && (fully || profile.all_us)) fprintf(json, ", \"time_outside\": %.4f", (double)profile.outside_us / (double)(profile.all_us + fully));
    fputs("}", json);
}

const struct runtime litert = {open_library, load, bind, feed, invoke, output, version, delegation};
