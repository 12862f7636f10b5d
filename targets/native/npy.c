/* A .npy of [n, *shape] in, its samples out one by one; and the same the other way. Format: numpy.lib.format, versions 1 to 3. */

#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_HEADER 65536

static _Noreturn void refuse_file(const struct tensor *input, const char *cause) {
    refuse(NULL, "the samples of '%s' are not a whole .npy file on the device (%s): run the command again", input->name, cause);
}

/* Bytes at an offset, all of them. */
static bool read_at(int file, void *into, size_t n, int64_t offset) {
    for (char *to = into; n;) {
        ssize_t got = pread(file, to, n, offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        to += got;
        offset += got;
        n -= (size_t)got;
    }
    return true;
}

/* What stands after `'key':` in the header's dict. */
static const char *entry(const struct tensor *input, const char *header, const char *key) {
    const char *at = strstr(header, key);
    if (!at) refuse_file(input, "its header lacks an entry");
    for (at += strlen(key); *at == ' ' || *at == ':';) at++;
    return at;
}

/* The header's `(n, 1, 28, 28)`: n, and whether the rest is the input's shape. */
static bool read_dimensions(const char *at, const struct tensor *input, size_t *n) {
    if (*at++ != '(') return false;
    size_t rank = 0;
    while (*at && *at != ')') {
        char *end;
        unsigned long long size = strtoull(at, &end, 10);
        if (end == at) return false;
        if (rank == 0) *n = (size_t)size;
        if (rank > 0 && (rank > input->rank || size != (unsigned long long)input->shape[rank - 1])) return false;
        rank++;
        for (at = end; *at == ',' || *at == ' ';) at++;
    }
    return rank == input->rank + 1 && *n > 0;
}

struct samples open_samples(const struct tensor *input) {
    struct samples samples = {.file = open(input->path, O_RDONLY | O_CLOEXEC)};
    if (samples.file < 0) refuse(NULL, "the samples of '%s' cannot be opened on the device (%s): run the command again", input->name, strerror(errno));
    unsigned char lead[12];
    if (!read_at(samples.file, lead, sizeof lead, 0) || memcmp(lead, "\x93NUMPY", 6) != 0) refuse_file(input, "it begins otherwise");
    bool wide = lead[6] > 1; /* version 1 has two bytes for the header's length, later ones four */
    size_t length = (size_t)lead[8] | (size_t)lead[9] << 8 | (wide ? (size_t)lead[10] << 16 | (size_t)lead[11] << 24 : 0);
    samples.start = (int64_t)(wide ? 12 : 10) + (int64_t)length;
    if (length > MAX_HEADER) refuse_file(input, "its header is too long");
    char *header = allocated(length + 1);
    if (!read_at(samples.file, header, length, samples.start - (int64_t)length)) refuse_file(input, "its header is cut");
    header[length] = 0;

    const char *descr = entry(input, header, "'descr'"), *shape = entry(input, header, "'shape'");
    size_t wanted = strlen(input->dtype->descr);
    bool same_type = (*descr == '\'' || *descr == '"') && strncmp(descr + 1, input->dtype->descr, wanted) == 0 && descr[wanted + 1] == *descr;
    bool in_order = strncmp(entry(input, header, "'fortran_order'"), "False", 5) == 0;
    if (!same_type || !in_order || !read_dimensions(shape, input, &samples.n))
        refuse(NULL, "the samples of '%s' are %.*s %.*s, not %s of the input's shape: give one array of [n, *shape] for each input", input->name,
               (int)strcspn(descr, ","), descr, (int)strcspn(shape, ")") + 1, shape, input->dtype->name);
    free(header);

    struct stat status;
    size_t bytes;
    if (__builtin_mul_overflow(samples.n, input->bytes, &bytes) || fstat(samples.file, &status) != 0 || status.st_size < samples.start ||
        (uint64_t)(status.st_size - samples.start) < bytes)
        refuse_file(input, "it is shorter than its header says");
    return samples;
}

void read_sample(const struct tensor *input, const struct samples *samples, size_t index, void *into) {
    if (!read_at(samples->file, into, input->bytes, samples->start + (int64_t)(index * input->bytes))) refuse_file(input, "a sample is cut");
}

/* Write to the end of a file; where the disk is full, the host's host is told in words. */
void append(int file, const char *path, const void *bytes, size_t n) {
    for (const char *from = bytes; n;) {
        ssize_t put = write(file, from, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) refuse(NULL, "the device cannot write %s (%s): free some space there and repeat the command", path, strerror(errno));
        from += put;
        n -= (size_t)put;
    }
}

/* A new .npy of [n, *shape] with its header written. */
int create_npy(const char *path, const struct tensor *output, size_t n) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0) refuse(NULL, "the device cannot write %s (%s): free some space there and repeat the command", path, strerror(errno));
    char *shape = text_of("(%zu,", n);
    for (size_t i = 0; i < output->rank; i++) {
        char *longer = text_of("%s %" PRId64 "%s", shape, output->shape[i], i + 1 < output->rank ? "," : "");
        free(shape);
        shape = longer;
    }
    char *dict = text_of("{'descr': '%s', 'fortran_order': False, 'shape': %s), }", output->dtype->descr, shape);
    size_t whole = (10 + strlen(dict) + 1 + 63) / 64 * 64; /* the data begins at a multiple of 64 */
    char *header = text_of("\x93NUMPY%c%c%c%c%-*s\n", 1, 1, 1, 1, (int)(whole - 11), dict);
    header[7] = 0; /* version 1.0 */
    header[8] = (char)((whole - 10) & 0xff);
    header[9] = (char)((whole - 10) >> 8);
    append(file, path, header, whole);
    free(header);
    free(dict);
    free(shape);
    return file;
}
