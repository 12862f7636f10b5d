"""p50 by the native runner against the runtime called bare: the same library, threads and inputs, interleaved pairs.

    python benchmarks/native_overhead.py MODEL.onnx [PAIRS [THREADS]]

The bare side is a C program of its own that loads the library, fills the inputs and takes the time of each call in a loop: what a careful
person would write. It is built by the same compiler; nothing of the runner's sources is in it but the names of the library's functions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratio import Ratio, interleaved, of_pairs
from edgekit import native
from edgekit.places import shipped
from edgekit.runtime import platform
from edgekit.toolchains.catalog import toolchain
from edgekit.toolchains.jobs import Job, run

BAR = 1.02
PROTOCOL = {"warm_up_min_s": 0.3, "warm_up_max_s": 1.0, "min_runs": 50, "min_s": 1.0, "max_samples": 16384}

LOOP = """
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
static long now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000L + t.tv_nsec; }
static int by_size(const void *a, const void *b) { long x = *(long *)a, y = *(long *)b; return (x > y) - (x < y); }
static void fill(void *into, size_t bytes, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fread(into, 1, bytes, file) != bytes) exit(3);
    fclose(file);
}
#define CHECK(x) do { if (x) { fprintf(stderr, "%s\\n", #x); exit(2); } } while (0)
#define MEASURE(call) do { \\
    static long took[1 << 20]; long n = 0, started = now(); \\
    while (n < 70 || (now() - started < 1300000000L && n < 1 << 20)) { long start = now(); call; took[n++] = now() - start; } \\
    qsort(took + n / 4, n - n / 4, sizeof *took, by_size); \\
    printf("%ld\\n", took[n / 4 + (n - n / 4) / 2]); exit(0); } while (0)
"""

BARE_LITERT = """
#include "litert_api.h"
#define DECLARE(name, arguments) static Status(*name) arguments;
LITERT_FUNCTIONS(DECLARE)
int main(int argc, char **argv) { /* library model threads input… */
    void *library = dlopen(argv[1], RTLD_NOW);
#define LOOK_UP(name, arguments) CHECK(!(*(void **)&name = dlsym(library, "LiteRt" #name)));
    LITERT_FUNCTIONS(LOOK_UP)
    Handle environment, model, options, opaque, compiled, signature, requirements, tensor, inputs[64], outputs[64];
    struct ranked_type type;
    size_t n_inputs, n_outputs;
    char toml[64];
    snprintf(toml, sizeof toml, "num_threads = %s\\n", argv[3]);
    CHECK(CreateEnvironment(0, NULL, &environment));
    CHECK(CreateModelFromFile(environment, argv[2], &model));
    CHECK(CreateOptions(&options));
    CHECK(SetOptionsHardwareAccelerators(options, ACCELERATOR_CPU));
    CHECK(CreateOpaqueOptions("xnnpack", strdup(toml), free, &opaque));
    CHECK(AddOpaqueOptions(options, opaque));
    CHECK(CreateCompiledModel(environment, model, options, &compiled));
    CHECK(GetModelSignature(model, 0, &signature));
    CHECK(GetNumSignatureInputs(signature, &n_inputs));
    CHECK(GetNumSignatureOutputs(signature, &n_outputs));
    for (size_t i = 0; i < n_inputs; i++) {
        void *memory;
        size_t bytes;
        CHECK(GetSignatureInputTensorByIndex(signature, i, &tensor));
        CHECK(GetRankedTensorType(tensor, &type));
        CHECK(GetCompiledModelInputBufferRequirements(compiled, 0, i, &requirements));
        CHECK(CreateManagedTensorBufferFromRequirements(environment, &type, requirements, &inputs[i]));
        CHECK(GetTensorBufferSize(inputs[i], &bytes));
        CHECK(LockTensorBuffer(inputs[i], &memory, LOCK_WRITE));
        fill(memory, bytes, argv[4 + i]);
        CHECK(UnlockTensorBuffer(inputs[i]));
    }
    for (size_t i = 0; i < n_outputs; i++) {
        CHECK(GetSignatureOutputTensorByIndex(signature, i, &tensor));
        CHECK(GetRankedTensorType(tensor, &type));
        CHECK(GetCompiledModelOutputBufferRequirements(compiled, 0, i, &requirements));
        CHECK(CreateManagedTensorBufferFromRequirements(environment, &type, requirements, &outputs[i]));
    }
    (void)argc;
    MEASURE(RunCompiledModel(compiled, 0, n_inputs, inputs, n_outputs, outputs));
}
"""

BARE_ORT = """
#include "onnxruntime_api.h"
#define DECLARE(place, result, name, arguments) static result(*name) arguments;
ORT_FUNCTIONS(DECLARE)
int main(int argc, char **argv) { /* library model threads input… */
    void *library = dlopen(argv[1], RTLD_NOW);
    const struct api_base *(*base)(void);
    CHECK(!(*(void **)&base = dlsym(library, "OrtGetApiBase")));
    const void *const *table = base()->get_api(API_VERSION);
#define LOOK_UP(place, result, name, arguments) *(const void **)&name = table[place];
    ORT_FUNCTIONS(LOOK_UP)
    Handle *environment, *options, *session, *info, *allocator, *type, *inputs[64], *outputs[64];
    const Handle *tensor;
    size_t n_inputs, n_outputs;
    char *names[64], *wanted[64];
    CHECK(CreateEnv(LOG_ERROR, "bare", &environment));
    CHECK(CreateSessionOptions(&options));
    CHECK(SetIntraOpNumThreads(options, atoi(argv[3])));
    CHECK(SetInterOpNumThreads(options, 1));
    CHECK(CreateSession(environment, argv[2], options, &session));
    CHECK(SessionGetInputCount(session, &n_inputs));
    CHECK(SessionGetOutputCount(session, &n_outputs));
    CHECK(GetAllocatorWithDefaultOptions(&allocator));
    CHECK(CreateCpuMemoryInfo(ARENA_ALLOCATOR, MEMORY_DEFAULT, &info));
    for (size_t i = 0; i < n_inputs; i++) {
        int64_t shape[32];
        size_t rank, bytes = 4;
        CHECK(SessionGetInputName(session, i, allocator, &names[i]));
        CHECK(SessionGetInputTypeInfo(session, i, &type));
        CHECK(CastTypeInfoToTensorInfo(type, &tensor));
        CHECK(GetDimensionsCount(tensor, &rank));
        CHECK(GetDimensions(tensor, shape, rank));
        for (size_t d = 0; d < rank; d++) bytes *= shape[d];
        void *memory = malloc(bytes);
        fill(memory, bytes, argv[4 + i]);
        CHECK(CreateTensorWithDataAsOrtValue(info, memory, bytes, shape, rank, 1, &inputs[i]));
    }
    for (size_t i = 0; i < n_outputs; i++) CHECK(SessionGetOutputName(session, i, allocator, &wanted[i]));
    (void)argc;
    MEASURE(memset(outputs, 0, sizeof outputs);
            CHECK(Run(session, NULL, (const char *const *)names, (const Handle *const *)inputs, n_inputs, (const char *const *)wanted, n_outputs, outputs));
            for (size_t i = 0; i < n_outputs; i++) ReleaseValue(outputs[i]));
}
"""


def built(source: str, scratch: Path, form: str) -> Path:
    """The bare program."""
    (scratch / "bare.c").write_text(LOOP + source)
    argv = [toolchain("native").python, "-m", "ziglang", "cc", "-target", f"{os.uname().machine}-linux-gnu.2.17", "-std=gnu11", "-D_GNU_SOURCE", "-O2"]
    subprocess.run([*argv, f"-I{shipped('targets') / 'native'}", "-o", scratch / f"bare-{form}", scratch / "bare.c"], check=True, stderr=subprocess.DEVNULL)
    return scratch / f"bare-{form}"


def compare(model: Path, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]], pairs: int, threads: int, scratch: Path) -> Ratio:
    """One file: the runner's p50 over the bare loop's, both in ms; all inputs are float32."""
    form = model.suffix.removeprefix(".")
    bundle = str(scratch / form)
    with tarfile.open(native.bundle(platform(), form, os.uname().machine)) as archive:
        archive.extractall(bundle, filter="data")
    for i, spec in enumerate(inputs):
        values = np.random.default_rng(i).standard_normal((1, *spec["shape"])).astype(np.float32)
        np.save(scratch / f"{i}.npy", values)
        values.tofile(scratch / f"{i}.raw")
    job = {
        "job": "benchmark",
        "mode": "latency",
        "artifact": str(model),
        "format": form,
        "inputs": [str(scratch / f"{i}.npy") for i in range(len(inputs))],
        "inputs_spec": inputs,
        "outputs_spec": outputs,
        "threads": threads,
        "protocol": PROTOCOL,
    }
    bare_program = built(BARE_ORT if form == "onnx" else BARE_LITERT, scratch, form)

    def ours() -> float:
        done = subprocess.run(native.argv(bundle, str(scratch / "job")), input=native.encode(job, bundle), capture_output=True, check=True)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        if "error" in told[-1]["result"]:
            sys.exit(told[-1]["result"]["error"]["message"])
        return float(np.median([one for line in told for one in line.get("samples_ns", [])])) / 1e6

    def bare() -> float:
        argv = [bare_program, f"{bundle}/{native.LIBRARIES[form]}", model, str(threads), *(scratch / f"{i}.raw" for i in range(len(inputs)))]
        return int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout) / 1e6

    ours(), bare()  # both once: the page cache
    return of_pairs(f"native runner against a bare loop, {form}, {threads} thread(s)", *interleaved(ours, bare, pairs), BAR, "ms")


def main(model: Path, pairs: int, threads: int) -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    read = run(Job("convert", "read_onnx", {"model": model}, {"shapes": {}}), lambda *_: None)
    hub = read.folder / "hub.onnx"
    tflite = run(Job("convert", "write_tflite", {"hub": hub}), lambda *_: None).folder / "model.tflite"
    for file in (tflite, hub):
        with tempfile.TemporaryDirectory() as scratch:
            print(compare(file, read.result["inputs"], read.result["outputs"], pairs, threads, Path(scratch)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 20, int(sys.argv[3]) if len(sys.argv) > 3 else 1)
