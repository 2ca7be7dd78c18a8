// Round trips of TLS, for measuring.

#include "end.h"
#include <sched.h>
#include <time.h>

struct echo {
    const char *kind;
    size_t size;
    long count;
    int cpu;
};

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
    for (long i = 0; i < echo->count; i++) {
        receive_all(&e, request, asked);
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
