// TLS by libssl between a process and its child, over a socket pair.
//
//   tls calls              four calls to a model: sync, streamed, big, bio
//   tls check FILE         says for each whether FILE, output of llmtap, has both ends
//   tls clean              says whether libssl, as mapped here, has breakpoints
//   tls echo KIND SIZE COUNT CPU [released]
//                          COUNT round trips of SIZE bytes each way; nanoseconds of one.
//                          KIND: llm, http (no call), binary (no HTTP). With `released`
//                          others come before, until neither end has breakpoints
//
// Results of checks are printed as a Rust test program prints them.

#define _GNU_SOURCE
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BIG (8 << 20)
#define PIECES 20

static void die(const char *what) {
    perror(what);
    ERR_print_errors_fp(stderr);
    _exit(1);
}

// A context with a certificate of its own; nobody verifies it.
static SSL_CTX *context(const SSL_METHOD *method) {
    SSL_CTX *ctx = SSL_CTX_new(method);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    if (!X509_sign(cert, key, EVP_sha256()) || !SSL_CTX_use_certificate(ctx, cert) ||
        !SSL_CTX_use_PrivateKey(ctx, key))
        die("certificate");
    return ctx;
}

// ---- one end of a connection; with memory BIOs, the bytes are carried by hand

struct end {
    SSL *ssl;
    int fd;
    bool by_hand;
};

static void carry_out(struct end *e) {
    char wire[16384];
    int n;
    while ((n = BIO_read(SSL_get_wbio(e->ssl), wire, sizeof wire)) > 0)
        for (int done = 0; done < n;) {
            ssize_t w = write(e->fd, wire + done, n - done);
            if (w <= 0) die("write");
            done += w;
        }
}

static bool carry_in(struct end *e) {
    char wire[16384];
    ssize_t n = read(e->fd, wire, sizeof wire);
    if (n <= 0) return false;
    return BIO_write(SSL_get_rbio(e->ssl), wire, n) == n;
}

// Whether a call that returned `result` is to be made again.
static bool again(struct end *e, int result) {
    if (!e->by_hand) return false;
    carry_out(e);
    return SSL_get_error(e->ssl, result) == SSL_ERROR_WANT_READ && carry_in(e);
}

static struct end end_of(int fd, bool client, bool by_hand) {
    SSL_CTX *ctx = context(client ? TLS_client_method() : TLS_server_method());
    struct end e = {SSL_new(ctx), fd, by_hand};
    if (by_hand)
        SSL_set_bio(e.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    else
        SSL_set_fd(e.ssl, fd);
    int r;
    do
        r = client ? SSL_connect(e.ssl) : SSL_accept(e.ssl);
    while (r != 1 && again(&e, r));
    if (r != 1) die("handshake");
    if (by_hand) carry_out(&e);
    return e;
}

static void send_all(struct end *e, const char *bytes, size_t length) {
    int r;
    do
        r = SSL_write(e->ssl, bytes, (int)length);
    while (r <= 0 && again(e, r));
    if (r != (int)length) die("SSL_write");
    if (e->by_hand) carry_out(e);
}

// Bytes read, 0 at the end.
static size_t receive(struct end *e, char *bytes, size_t room) {
    int r;
    do
        r = SSL_read(e->ssl, bytes, (int)room);
    while (r <= 0 && again(e, r));
    return r > 0 ? (size_t)r : 0;
}

static void receive_all(struct end *e, char *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        size_t n = receive(e, bytes + done, length - done);
        if (!n) die("SSL_read");
        done += n;
    }
}

// Forks; gives the client's socket to the parent and runs `serve` in the child.
static int with_server(void (*serve)(int, void *), void *argument, pid_t *child) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds)) die("socketpair");
    *child = fork();
    if (*child == 0) {
        close(fds[0]);
        serve(fds[1], argument);
        _exit(0);
    }
    close(fds[1]);
    return fds[0];
}

// ---- calls

struct call {
    const char *name;
    size_t prompt_length;
    bool streamed, by_hand;
};

static const struct call CALLS[] = {
    {"sync", 100, false, false},
    {"streamed", 100, true, false},
    {"big", BIG, false, false},
    {"bio", 20000, true, true},
};
#define CALL_COUNT (sizeof CALLS / sizeof *CALLS)

// Text that is different at each place and between calls.
static char *prompt_of(const struct call *call) {
    char *text = malloc(call->prompt_length + 16);
    size_t length = 0;
    for (unsigned i = 0; length < call->prompt_length; i++)
        length += sprintf(text + length, "%c%06x ", call->name[0], i);
    text[call->prompt_length] = 0;
    return text;
}

static char *formatted(size_t room, const char *format, ...) {
    char *text = malloc(room);
    va_list list;
    va_start(list, format);
    vsnprintf(text, room, format, list);
    va_end(list);
    return text;
}

static char *reply_of(const struct call *call) {
    return formatted(200, "reply to %s of %zu bytes", call->name, call->prompt_length);
}

static void read_request(struct end *e) {
    size_t room = BIG + 4096, got = 0, want = 0;
    char *bytes = malloc(room);
    while (!want || got < want) {
        size_t n = receive(e, bytes + got, room - 1 - got);
        if (!n) die("request");
        got += n;
        bytes[got] = 0;
        char *body = want ? NULL : strstr(bytes, "\r\n\r\n");
        if (body)
            want = (body + 4 - bytes) + atol(strstr(bytes, "Content-Length: ") + 16);
    }
    free(bytes);
}

static void serve_call(int fd, void *argument) {
    const struct call *call = argument;
    struct end e = end_of(fd, false, false);
    read_request(&e);
    char *reply = reply_of(call);
    if (!call->streamed) {
        char *body = formatted(1000,
            "{\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\","
            "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
            "\"finish_reason\":\"stop\"}],"
            "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_tokens\":11}}",
            call->name, reply);
        char *whole = formatted(2000,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
            strlen(body), body);
        send_all(&e, whole, strlen(whole));
    } else {
        const char *head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n";
        send_all(&e, head, strlen(head));
        size_t length = strlen(reply), each = length / PIECES + 1;
        for (size_t at = 0; at < length; at += each) {
            char *event = formatted(1000,
                "data: {\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion.chunk\",\"created\":1,"
                "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%.*s\"},"
                "\"finish_reason\":null}]}\n\n", call->name, (int)each, reply + at);
            char *chunk = formatted(1200, "%zx\r\n%s\r\n", strlen(event), event);
            send_all(&e, chunk, strlen(chunk));
        }
        const char *last = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
        send_all(&e, last, strlen(last));
    }
    SSL_shutdown(e.ssl);
    SSL_free(e.ssl);
}

static void make_call(const struct call *call) {
    pid_t child;
    int fd = with_server(serve_call, (void *)call, &child);
    struct end e = end_of(fd, true, call->by_hand);
    char *prompt = prompt_of(call);
    char *body = formatted(call->prompt_length + 500,
        "{\"model\":\"vm-%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
        call->name, call->streamed ? "true" : "false", prompt);
    char *whole = formatted(call->prompt_length + 1000,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: model.test\r\n"
        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    send_all(&e, whole, strlen(whole));
    char bytes[4096];
    while (receive(&e, bytes, sizeof bytes)) {}
    SSL_free(e.ssl);
    int status;
    waitpid(child, &status, 0);
    if (status) die("server");
}

// ---- checks

static char *contents(const char *path) {
    int fd = open(path, O_RDONLY);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    if (size < 0) die(path);
    char *bytes = malloc(size + 1);
    for (off_t done = 0; done < size;) {
        ssize_t n = pread(fd, bytes + done, size - done, done);
        if (n <= 0) die(path);
        done += n;
    }
    bytes[size] = 0;
    close(fd);
    return bytes;
}

static bool verdict(const char *name, bool good) {
    printf("test %s ... %s\n", name, good ? "ok" : "FAILED");
    return good;
}

static bool check(const char *path) {
    static const char *KINDS[] = {"\"kind\":\"client\"", "\"kind\":\"server\""};
    char *output = contents(path);
    bool good = true;
    for (size_t i = 0; i < CALL_COUNT; i++) {
        char *prompt = prompt_of(&CALLS[i]), *reply = reply_of(&CALLS[i]);
        int found[2] = {0, 0};
        char *copy = strdup(output), *rest = copy;
        for (char *line; (line = strsep(&rest, "\n"));)
            for (int k = 0; k < 2; k++)
                found[k] += strstr(line, KINDS[k]) && strstr(line, prompt) && strstr(line, reply);
        good &= verdict(CALLS[i].name, found[0] == 1 && found[1] == 1);
        free(copy);
    }
    return good;
}

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

// ---- echo

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
    struct end e = end_of(fd, false, false);
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
    int fd = with_server(serve_echo, echo, &child);
    size_t asked, answered;
    char *request = message(echo, true, &asked), *reply = message(echo, false, &answered);
    struct end e = end_of(fd, true, false);
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

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "calls")) {
        for (size_t i = 0; i < CALL_COUNT; i++) make_call(&CALLS[i]);
        return 0;
    }
    if (!strcmp(mode, "check") && argc == 3) return !check(argv[2]);
    if (!strcmp(mode, "clean")) return !verdict("unload", is_clean());
    if (!strcmp(mode, "echo") && (argc == 6 || argc == 7)) {
        struct echo echo = {argv[2], atol(argv[3]), atol(argv[4]), atoi(argv[5]), NULL};
        echo.state = mmap(NULL, sizeof *echo.state, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (echo.state == MAP_FAILED) die("mmap");
        echo.state->counts = argc == 6;
        run_echo(&echo);
        return 0;
    }
    fprintf(stderr, "usage: tls calls | check FILE | clean | echo KIND SIZE COUNT CPU [released]\n");
    return 2;
}
