/* What of LiteRT's C interface the runner calls, as libLiteRt.so 2.3 exports it.
 *
 * Source: the headers litert/c of LiteRT (Copyright Google LLC, Apache License 2.0), whose names and values these are; handles are
 * opaque. Options of the CPU and of the runtime have no exported setters: they travel as TOML under a name.
 */

#ifndef EDGEKIT_LITERT_API_H
#define EDGEKIT_LITERT_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int Status; /* 0 is good */
typedef struct Handle *Handle;

#define ACCELERATOR_CPU 1
#define OPTION_AUTO_REGISTER 24 /* which accelerators are looked for: a set */
#define VALUE_INT 2
#define LOCK_READ 0
#define LOCK_WRITE 1
#define OP_CUSTOM 32
#define EVENT_OPERATOR_INVOKE 2
#define EVENT_DELEGATE_PROFILED_OPERATOR_INVOKE 8
#define PROFILER_ENTRIES 2048 /* what its ring holds */

/* LiteRtEnvOption with an integer in it */
struct environment_option {
    int32_t tag;
    struct {
        int32_t type;
        int64_t value;
    } any;
};

/* LiteRtRankedTensorType */
struct ranked_type {
    int32_t element_type;
    uint32_t rank : 7, has_strides : 1;
    int32_t dimensions[8];
    uint32_t strides[8];
};

/* ProfiledEventData */
struct profiled_event {
    const char *tag;
    int32_t type;
    uint64_t start_us, elapsed_us;
    uint64_t memory_before[3], memory_after[3];
    uint64_t node, subgraph;
    int32_t source;
};

/* X(name, arguments): each becomes a pointer that is looked up in the library. */
#define LITERT_FUNCTIONS(X)                                                                                                                      \
    X(CreateEnvironment, (int n, const struct environment_option *options, Handle *environment))                                                 \
    X(CreateModelFromFile, (Handle environment, const char *path, Handle *model))                                                                \
    X(CreateOptions, (Handle *options))                                                                                                          \
    X(SetOptionsHardwareAccelerators, (Handle options, int set))                                                                                 \
    X(CreateOpaqueOptions, (const char *name, void *toml, void (*release)(void *), Handle *opaque))                                              \
    X(AddOpaqueOptions, (Handle options, Handle opaque))                                                                                         \
    X(CreateCompiledModel, (Handle environment, Handle model, Handle options, Handle *compiled))                                                 \
    X(CompiledModelIsFullyAccelerated, (Handle compiled, bool *fully))                                                                           \
    X(CompiledModelGetProfiler, (Handle compiled, Handle *profiler))                                                                             \
    X(GetNumModelSignatures, (Handle model, size_t *n))                                                                                          \
    X(GetModelSignature, (Handle model, size_t place, Handle *signature))                                                                        \
    X(GetSignatureKey, (Handle signature, const char **key))                                                                                     \
    X(GetSignatureSubgraph, (Handle signature, Handle *subgraph))                                                                                \
    X(GetNumSignatureInputs, (Handle signature, size_t *n))                                                                                      \
    X(GetNumSignatureOutputs, (Handle signature, size_t *n))                                                                                     \
    X(GetSignatureInputName, (Handle signature, size_t place, const char **name))                                                                \
    X(GetSignatureOutputName, (Handle signature, size_t place, const char **name))                                                               \
    X(GetSignatureInputTensorByIndex, (Handle signature, size_t place, Handle *tensor))                                                          \
    X(GetSignatureOutputTensorByIndex, (Handle signature, size_t place, Handle *tensor))                                                         \
    X(GetNumSubgraphInputs, (Handle subgraph, size_t *n))                                                                                        \
    X(GetNumSubgraphOutputs, (Handle subgraph, size_t *n))                                                                                       \
    X(GetSubgraphInput, (Handle subgraph, size_t place, Handle *tensor))                                                                         \
    X(GetSubgraphOutput, (Handle subgraph, size_t place, Handle *tensor))                                                                        \
    X(GetNumSubgraphOps, (Handle subgraph, size_t *n))                                                                                           \
    X(GetSubgraphOp, (Handle subgraph, size_t place, Handle *op))                                                                                \
    X(GetOpCode, (Handle op, int *code))                                                                                                         \
    X(GetCustomCode, (Handle op, const char **name))                                                                                             \
    X(GetRankedTensorType, (Handle tensor, struct ranked_type *type))                                                                            \
    X(GetCompiledModelInputBufferRequirements, (Handle compiled, size_t signature, size_t place, Handle *requirements))                          \
    X(GetCompiledModelOutputBufferRequirements, (Handle compiled, size_t signature, size_t place, Handle *requirements))                         \
    X(CreateManagedTensorBufferFromRequirements, (Handle environment, const struct ranked_type *type, Handle requirements, Handle *buffer))      \
    X(GetTensorBufferSize, (Handle buffer, size_t *bytes))                                                                                       \
    X(LockTensorBuffer, (Handle buffer, void **memory, int mode))                                                                                \
    X(UnlockTensorBuffer, (Handle buffer))                                                                                                       \
    X(RunCompiledModel, (Handle compiled, size_t signature, size_t n_inputs, Handle *inputs, size_t n_outputs, Handle *outputs))                 \
    X(StartProfiler, (Handle profiler))                                                                                                          \
    X(StopProfiler, (Handle profiler))                                                                                                           \
    X(GetNumProfilerEvents, (Handle profiler, int *n))                                                                                           \
    X(GetProfilerEvents, (Handle profiler, int n, void *events))

#endif
