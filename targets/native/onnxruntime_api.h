/* What of ONNX Runtime's C interface the runner calls: places in its table of functions, which are never moved.
 *
 * Source: onnxruntime_c_api.h (Copyright (c) Microsoft Corporation, MIT License), `struct OrtApi`, its part of version 1.
 */

#ifndef EDGEKIT_ONNXRUNTIME_API_H
#define EDGEKIT_ONNXRUNTIME_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct Status Status; /* NULL is good */
typedef struct Handle Handle;

struct api_base {
    const void *const *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
};

#define API_VERSION 1
#define LOG_ERROR 3
#define SEQUENTIAL 0
#define ARENA_ALLOCATOR 1
#define MEMORY_DEFAULT 0

/* X(place, result, name, arguments) */
#define ORT_FUNCTIONS(X)                                                                                                                          \
    X(2, const char *, GetErrorMessage, (const Status *))                                                                                         \
    X(3, Status *, CreateEnv, (int severity, const char *name, Handle **environment))                                                             \
    X(6, Status *, DisableTelemetryEvents, (const Handle *environment))                                                                           \
    X(7, Status *, CreateSession, (const Handle *environment, const char *path, const Handle *options, Handle **session))                         \
    X(9, Status *, Run,                                                                                                                           \
      (Handle * session, const Handle *options, const char *const *names, const Handle *const *values, size_t n, const char *const *wanted,       \
       size_t n_wanted, Handle **returned))                                                                                                       \
    X(10, Status *, CreateSessionOptions, (Handle * *options))                                                                                    \
    X(13, Status *, SetSessionExecutionMode, (Handle * options, int mode))                                                                        \
    X(24, Status *, SetIntraOpNumThreads, (Handle * options, int n))                                                                              \
    X(25, Status *, SetInterOpNumThreads, (Handle * options, int n))                                                                              \
    X(30, Status *, SessionGetInputCount, (const Handle *session, size_t *n))                                                                     \
    X(31, Status *, SessionGetOutputCount, (const Handle *session, size_t *n))                                                                    \
    X(33, Status *, SessionGetInputTypeInfo, (const Handle *session, size_t place, Handle **type))                                                \
    X(34, Status *, SessionGetOutputTypeInfo, (const Handle *session, size_t place, Handle **type))                                               \
    X(36, Status *, SessionGetInputName, (const Handle *session, size_t place, Handle *allocator, char **name))                                   \
    X(37, Status *, SessionGetOutputName, (const Handle *session, size_t place, Handle *allocator, char **name))                                  \
    X(49, Status *, CreateTensorWithDataAsOrtValue,                                                                                               \
      (const Handle *memory, void *data, size_t bytes, const int64_t *shape, size_t rank, int type, Handle **value))                              \
    X(51, Status *, GetTensorMutableData, (Handle * value, void **data))                                                                          \
    X(55, Status *, CastTypeInfoToTensorInfo, (const Handle *type, const Handle **tensor))                                                        \
    X(60, Status *, GetTensorElementType, (const Handle *tensor, int *type))                                                                      \
    X(61, Status *, GetDimensionsCount, (const Handle *tensor, size_t *rank))                                                                     \
    X(62, Status *, GetDimensions, (const Handle *tensor, int64_t *shape, size_t rank))                                                           \
    X(65, Status *, GetTensorTypeAndShape, (const Handle *value, Handle **tensor))                                                                \
    X(69, Status *, CreateCpuMemoryInfo, (int allocator, int memory, Handle **info))                                                              \
    X(78, Status *, GetAllocatorWithDefaultOptions, (Handle * *allocator))                                                                        \
    X(96, void, ReleaseValue, (Handle * value))                                                                                                   \
    X(99, void, ReleaseTensorTypeAndShapeInfo, (Handle * tensor))

#endif
