/* What the runner says out: one JSON object a line on the original stdout. */

#include "runner.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *folder = ".", *job_name = "";
static FILE *channel;

/* What libraries print goes to stderr; the original stdout is kept for our own lines. */
void open_channel(const char *folder_path) {
    folder = folder_path;
    int kept = fcntl(1, F_DUPFD_CLOEXEC, 3);
    channel = kept < 0 ? NULL : fdopen(kept, "w");
    if (!channel || dup2(2, 1) < 0) _exit(70);
}

void *allocated(size_t bytes) {
    void *memory;
    if (bytes > PTRDIFF_MAX - 2 * ALIGNMENT || posix_memalign(&memory, ALIGNMENT, (bytes + 2 * ALIGNMENT) / ALIGNMENT * ALIGNMENT) != 0)
        refuse(NULL, "memory ran out on the device: close other programs there or use a smaller model");
    return memory; /* a little longer than asked: XNNPACK reads some bytes past the end */
}

char *text_of(const char *format, ...) {
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int n = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (n < 0) _exit(71);
    return text;
}

/* Bytes of a well-formed UTF-8 character, else 0. */
static size_t utf8_length(const unsigned char *at) {
    size_t n = *at >= 0xc2 && *at < 0xe0 ? 2 : *at >= 0xe0 && *at < 0xf0 ? 3 : *at >= 0xf0 && *at < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    bool surrogate = n == 3 && *at == 0xed && at[1] >= 0xa0;
    bool overlong = (*at == 0xe0 && at[1] < 0xa0) || (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] >= 0x90);
    return n && (surrogate || overlong) ? 0 : n;
}

/* A JSON string; NULL is `null`. Bytes that are no UTF-8 become U+FFFD. */
void put_string(FILE *json, const char *text) {
    if (!text) {
        fputs("null", json);
        return;
    }
    fputc('"', json);
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        size_t n = *at < 0x80 ? 1 : utf8_length(at);
        if (n == 0) {
            fputs("\\ufffd", json);
        } else if (*at < 0x20 || *at == '"' || *at == '\\' || *at == 0x7f) {
            fprintf(json, "\\u%04x", *at);
        } else {
            fwrite(at, 1, n, json);
            at += n - 1;
        }
    }
    fputc('"', json);
}

/* One object as text: `{"job": …,` and what `fill` adds, with the closing brace. */
char *result_text(void (*fill)(FILE *json)) {
    char *text;
    size_t n;
    FILE *json = open_memstream(&text, &n);
    if (!json) _exit(71);
    fputs("{\"job\": ", json);
    put_string(json, job_name);
    fputs(", ", json);
    fill(json);
    fputs("}", json);
    if (fclose(json) != 0) _exit(71);
    return text;
}

/* {"text": …}: progress. */
void say(const char *text) {
    fputs("{\"text\": ", channel);
    put_string(channel, text);
    fputs("}\n", channel);
    fflush(channel);
}

/* {"text": …, "samples_ns": […]} */
void tell_samples(const char *text, const int64_t *samples, size_t n) {
    fputs("{\"text\": ", channel);
    put_string(channel, text);
    fputs(", \"samples_ns\": [", channel);
    for (size_t i = 0; i < n; i++) fprintf(channel, "%s%" PRId64, i ? ", " : "", samples[i]);
    fputs("]}\n", channel);
    fflush(channel);
}

/* {"KEY": TEXT}, where the text is JSON. */
void tell(const char *key, const char *text) {
    fprintf(channel, "{\"%s\": %s}\n", key, text);
    fflush(channel);
}

/* The last word. No destructors: a runtime that hangs in its own would lose nothing but time. */
_Noreturn void finish(const char *text) {
    tell("result", text);
    _exit(0);
}

static const char *refused_op;
static const char *refused_message;

static void put_refusal(FILE *json) {
    fputs("\"error\": {\"message\": ", json);
    put_string(json, refused_message);
    fputs(", \"op\": ", json);
    put_string(json, refused_op);
    fputs("}", json);
}

/* End the job with one sentence: cause and cure, and the op at fault where it is known. */
_Noreturn void refuse(const char *op, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *message;
    if (vasprintf(&message, format, arguments) < 0) _exit(71);
    va_end(arguments);
    refused_message = message;
    refused_op = op;
    finish(result_text(put_refusal));
}

static char *prepared;

/* Have a refusal ready for a moment in which nothing may be allocated. */
void prepare_refusal(const char *message) {
    refused_message = message;
    refused_op = NULL;
    prepared = text_of("{\"result\": %s}\n", result_text(put_refusal));
}

/* End with the refusal that was prepared, from within a signal's handler. */
_Noreturn void refuse_prepared(void) {
    for (const char *text = prepared; *text;) {
        ssize_t put = write(fileno(channel), text, strlen(text));
        if (put <= 0) break;
        text += put;
    }
    _exit(0);
}
