/* Element types by their names and codes; the boundary that a job asks for against the one that a file has. */

#include "runner.h"

#include <stdlib.h>
#include <string.h>

/* The codes are those of ONNX's TensorProto.DataType and of TFLite's TfLiteType. */
static const struct dtype DTYPES[] = {
    {"bool", "|b1", 1, 9, 6},     {"int8", "|i1", 1, 3, 9},     {"uint8", "|u1", 1, 2, 3},    {"int16", "<i2", 2, 5, 7},
    {"uint16", "<u2", 2, 4, 17},  {"int32", "<i4", 4, 6, 2},    {"uint32", "<u4", 4, 12, 16}, {"int64", "<i8", 8, 7, 4},
    {"uint64", "<u8", 8, 13, 13}, {"float16", "<f2", 2, 10, 10}, {"float32", "<f4", 4, 1, 1},  {"float64", "<f8", 8, 11, 11},
};
#define N_DTYPES (sizeof DTYPES / sizeof *DTYPES)

const struct dtype *dtype_named(const char *name) {
    for (size_t i = 0; i < N_DTYPES; i++)
        if (strcmp(DTYPES[i].name, name) == 0) return &DTYPES[i];
    return NULL;
}

const char *dtype_of_onnx(int code) {
    for (size_t i = 0; i < N_DTYPES; i++)
        if (DTYPES[i].onnx == code) return DTYPES[i].name;
    return "no type that arrays have";
}

const char *dtype_of_litert(int code) {
    for (size_t i = 0; i < N_DTYPES; i++)
        if (DTYPES[i].litert == code) return DTYPES[i].name;
    return "no type that arrays have";
}

static char *shape_text(const int64_t *shape, size_t rank) {
    char *text = text_of("[");
    for (size_t i = 0; i < rank; i++) {
        char *longer = text_of("%s%s%lld", text, i ? ", " : "", (long long)shape[i]);
        free(text);
        text = longer;
    }
    return text_of("%s]", text);
}

static char *names_of(const struct found *found, size_t n) {
    char *text = text_of("%s", n ? "" : "none");
    for (size_t i = 0; i < n; i++) {
        char *longer = text_of("%s%s'%s'", text, i ? ", " : "", found[i].name);
        free(text);
        text = longer;
    }
    return text;
}

size_t place_of(const char *name, const struct found *found, size_t n_found) {
    size_t place = 0;
    while (place < n_found && strcmp(found[place].name, name) != 0) place++;
    return place;
}

/* Names, dtypes and shapes have to be the model's; a dimension that is not fixed fits any. */
void check_boundary(const char *what, const struct tensor *asked, size_t n_asked, const struct found *found, size_t n_found) {
    for (size_t i = 0; i < n_asked; i++) {
        size_t place = place_of(asked[i].name, found, n_found);
        if (place == n_found)
            refuse(NULL, "the file has no %s '%s' but %s: convert it again, or name its own", what, asked[i].name, names_of(found, n_found));
        const struct found *there = &found[place];
        bool fits = there->rank == asked[i].rank;
        for (size_t d = 0; fits && d < there->rank; d++) fits = there->shape[d] < 0 || there->shape[d] == asked[i].shape[d];
        if (!fits || strcmp(there->dtype, asked[i].dtype->name) != 0)
            refuse(NULL, "the file's %s '%s' is %s %s, not %s %s: convert the model again", what, asked[i].name, there->dtype,
                   shape_text(there->shape, there->rank), asked[i].dtype->name, shape_text(asked[i].shape, asked[i].rank));
    }
    if (n_found != n_asked)
        refuse(NULL, "the file has %zu %ss (%s), not %zu: convert the model again", n_found, what, names_of(found, n_found), n_asked);
}
