/* What a library prints while it is asked something in, words and the op at fault out. */

#include "runner.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MAX_WORDS 300

static int kept[3] = {-1, -1, -1}, captured = -1;

/* Send stdout and stderr to a file that has no name. */
void capture(void) {
    char *path = text_of("%s/log", folder);
    captured = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    unlink(path);
    free(path);
    if (captured < 0) return;
    for (int fd = 1; fd <= 2; fd++) {
        kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (kept[fd] >= 0) dup2(captured, fd);
    }
}

static void restore(void) {
    for (int fd = 1; fd <= 2; fd++) {
        if (kept[fd] >= 0) {
            dup2(kept[fd], fd);
            close(kept[fd]);
        }
        kept[fd] = -1;
    }
}

void release(void) {
    restore();
    if (captured >= 0) close(captured);
    captured = -1;
}

/* Errors among the captured lines, else the last ones, in one line; ends the capture. */
const char *log_words(void) {
    static char text[65536];
    restore();
    ssize_t n = captured < 0 ? 0 : pread(captured, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    release();
    char *words = text_of("%s", ""), *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        bool matters = strstr(line, "ERROR") || strstr(line, "rror:") || (!strstr(line, "INFO") && !strstr(line, "WARNING") && !strstr(line, "VERBOSE"));
        if (!matters || !*line) continue;
        char *longer = text_of("%s%s%s", words, *words ? " " : "", line);
        free(words);
        words = longer;
    }
    return words;
}

/* The word after a phrase, such as the name in `custom op: NAME.`; NULL where the phrase is not there. */
static char *word_after(const char *words, const char *phrase) {
    const char *at = strstr(words, phrase);
    if (!at) return NULL;
    at += strlen(phrase);
    size_t n = 0;
    while (isalnum((unsigned char)at[n]) || at[n] == '_') n++;
    return n ? text_of("%.*s", (int)n, at) : NULL;
}

/* The word before `(7) is not a registered function/op`: ONNX Runtime names the op and its version so. */
static char *word_before_version(const char *words) {
    const char *end = strstr(words, ") is not a registered");
    if (!end) return NULL;
    while (end > words && (isdigit((unsigned char)end[-1]) || end[-1] == '-')) end--;
    if (end == words || *--end != '(') return NULL;
    const char *start = end;
    while (start > words && !isspace((unsigned char)start[-1])) start--;
    return end > start ? text_of("%.*s", (int)(end - start), start) : NULL;
}

/* A runtime's failure as a refusal: what it was doing, its own words, and the op that it lacks. */
_Noreturn void refuse_runtime(const struct job *job, const char *doing, const char *words) {
    struct utsname machine;
    uname(&machine);
    char *one_line = text_of("%.*s", MAX_WORDS, words);
    for (char *at = one_line; *at; at++)
        if (isspace((unsigned char)*at)) *at = ' ';
    char *op = word_after(words, "custom op: ");
    if (!op) op = word_after(words, "builtin opcode '");
    if (!op) op = word_before_version(words);
    if (strstr(words, "bad_alloc") || strstr(words, "Failed to allocate memory"))
        refuse(NULL, "memory ran out while %s was %s the file: close other programs or use a smaller model", job->runtime_name, doing);
    char *lacks = op ? text_of("lacks the op %s", op) : text_of("failed %s the file", doing);
    const char *cure = op ? "convert without that op, or to another format" : "convert it again, or to another format";
    refuse(op, "%s %s on this %s device %s (%s): %s", job->runtime_name, job->runtime_version, machine.machine, lacks, one_line, cure);
}

static const int FATAL[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static void crashed(int signal) {
    (void)signal;
    refuse_prepared();
}

/* Runtimes crash on files that are damaged in certain ways: until `unguard`, say that, and end. */
void guard(const struct job *job, const char *doing) {
    static char stack[65536];
    static bool prepared;
    if (!prepared) {
        stack_t other = {.ss_sp = stack, .ss_size = sizeof stack}; /* the crash may be an overflow of the usual one */
        sigaltstack(&other, NULL);
        prepared = true;
    }
    prepare_refusal(text_of("%s %s crashed %s the file, which is cut short or damaged, or not for this runtime: convert it again, or to another format",
                            job->runtime_name, job->runtime_version, doing));
    struct sigaction action = {.sa_handler = crashed, .sa_flags = SA_ONSTACK};
    for (size_t i = 0; i < sizeof FATAL / sizeof *FATAL; i++) sigaction(FATAL[i], &action, NULL);
}

/* From here on a crash is a crash: what was measured stays. */
void unguard(void) {
    for (size_t i = 0; i < sizeof FATAL / sizeof *FATAL; i++) signal(FATAL[i], SIG_DFL);
}
