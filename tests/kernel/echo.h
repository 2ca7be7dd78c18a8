// Round trips of TLS, for measuring.

#include "end.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

struct echo {
    const char *kind;
    size_t size;
    long count;
    int cpu;
    // Common to both ends: whether the server is clean, and whether round trips count.
    volatile struct { bool clean, counts; } *state;
};

// Round trips between two looks for breakpoints, and looks until nobody waits any more.
#define STRIDE 2000
#define LOOKS 10000

// Whether libssl, as mapped here, is as its file.
static bool is_clean(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1000], path[900];
    unsigned long from, to, offset;
    bool mapped = false, same = true;
    while (fgets(line, sizeof line, maps)) {
        if (!strstr(line, "libssl") || !strstr(line, " r-xp ")) continue;
        if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %899s", &from, &to, &offset, path) != 4) continue;
        char *file = malloc(to - from);
        int fd = open(path, O_RDONLY);
        ssize_t n = pread(fd, file, to - from, offset);
        if (n <= 0) die(path);
        mapped = true;
        same &= !memcmp(file, (void *)from, n);
        free(file);
        close(fd);
    }
    fclose(maps);
    return mapped && same;
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) die("sched_setaffinity");
}

// A message of exactly `size` bytes, where that is enough for its head.
static char *message(const struct echo *echo, bool request, size_t *length) {
    bool llm = !strcmp(echo->kind, "llm");
    char head[400];
    const char *open = "", *close = "";
    if (!strcmp(echo->kind, "binary")) {
        char *bytes = malloc(echo->size);
        memset(bytes, 0x7f, echo->size);
        bytes[0] = 0;
        *length = echo->size;
        return bytes;
    }
    if (llm) {
        open = request ? "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\""
                       : "{\"id\":\"e\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":"
                         "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"";
        close = request ? "\"}]}" : "\"},\"finish_reason\":\"stop\"}]}";
    } else {
        open = "{\"items\":\"";
        close = "\"}";
    }
    const char *first = request ? (llm ? "POST /v1/chat/completions HTTP/1.1\r\nHost: a.test"
                                       : "POST /v1/items HTTP/1.1\r\nHost: a.test")
                                : "HTTP/1.1 200 OK";
    size_t fixed = strlen(open) + strlen(close);
    snprintf(head, sizeof head,
             "%s\r\nContent-Type: application/json\r\nContent-Length: %08d\r\n\r\n", first, 0);
    size_t least = strlen(head) + fixed;
    *length = echo->size > least ? echo->size : least;
    size_t body = *length - strlen(head);
    snprintf(head, sizeof head,
             "%s\r\nContent-Type: application/json\r\nContent-Length: %08zu\r\n\r\n", first, body);
    char *bytes = malloc(*length + 1);
    sprintf(bytes, "%s%s", head, open);
    memset(bytes + strlen(bytes), 'x', body - fixed);
    memcpy(bytes + *length - strlen(close), close, strlen(close));
    return bytes;
}

static void serve_echo(int fd, void *argument) {
    const struct echo *echo = argument;
    size_t asked, answered;
    char *request = message(echo, true, &asked), *reply = message(echo, false, &answered);
    struct end e = end_of(fd, false, SOCKET);
    long before = 0;
    for (long left = echo->count; left > 0;) {
        receive_all(&e, request, asked);
        if (echo->state->counts)
            left--;
        else if (++before % STRIDE == 0)
            echo->state->clean = is_clean();
        send_all(&e, reply, answered);
    }
    SSL_free(e.ssl);
}

static void run_echo(struct echo *echo) {
    pin(echo->cpu);
    pid_t child;
    int fd = with_server(SOCKET, serve_echo, echo, &child);
    size_t asked, answered;
    char *request = message(echo, true, &asked), *reply = message(echo, false, &answered);
    struct end e = end_of(fd, true, SOCKET);
    for (int looks = 0; !echo->state->counts; looks++) {
        if (looks == LOOKS) die("waited in vain for the end of breakpoints");
        for (int i = 0; i < STRIDE; i++) {
            send_all(&e, request, asked);
            receive_all(&e, reply, answered);
        }
        echo->state->counts = echo->state->clean && is_clean();
    }
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (long i = 0; i < echo->count; i++) {
        send_all(&e, request, asked);
        receive_all(&e, reply, answered);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ns = (to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec);
    printf("{\"ns\":%.0f,\"sent\":%zu,\"pid\":%d}\n", ns / echo->count,
           (asked + answered) * echo->count, getpid());
    SSL_free(e.ssl);
    waitpid(child, NULL, 0);
}
