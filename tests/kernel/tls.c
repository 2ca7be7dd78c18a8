// Calls to a model between a process and its child, or another program.
//
//   tls call NAME...       makes these calls of `CALLS`, both ends
//   tls serve NAME PROGRAM...
//                          serves the call over TLS to PROGRAM, which finds in its environment
//                          OPENAI_BASE_URL, SSL_CERT_FILE, BODY (of the request) and CANARY
//   tls check FILE NAME... says for each whether FILE, output of llmtap, has both ends
//   tls clean              says whether libssl, as mapped here, has breakpoints
//   tls echo KIND SIZE COUNT CPU [released]
//                          COUNT round trips of SIZE bytes each way; nanoseconds of one.
//                          KIND: llm, http (no call), binary (no HTTP). With `released`
//                          others come before, until neither end has breakpoints
//
// Results of checks are printed as a Rust test program prints them.

#include "echo.h"
#include <fcntl.h>
#include <stdarg.h>

#define BIG (8 << 20)
#define PIECES 20

struct call {
    const char *name;
    enum carrier carrier;
    bool streamed;
    size_t prompt_length;
    // What another program says, so many times; otherwise something that is different at
    // each place and between calls.
    const char *prompt;
    size_t times;
};

static const struct call CALLS[] = {
    {.name = "sync", .prompt_length = 100},
    {.name = "streamed", .streamed = true, .prompt_length = 100},
    {.name = "big", .prompt_length = BIG},
    {.name = "bio", .carrier = MEMORY, .streamed = true, .prompt_length = 20000},
    {.name = "bare", .carrier = BARE, .streamed = true, .prompt_length = 20000},
    {.name = "plain", .carrier = PLAIN, .streamed = true, .prompt_length = 20000},
    {.name = "ktls", .carrier = KERNEL, .streamed = true, .prompt_length = 50000},
    {.name = "curl", .streamed = true, .prompt_length = 20000},
    {.name = "gnutls", .streamed = true, .prompt_length = 20000},
    {.name = "go", .prompt = "Grüße an 漢字 🦀", .times = 1},
    {.name = "ring", .prompt = "Grüße ", .times = 4000},
    {.name = "aws-lc", .prompt = "Grüße ", .times = 4000},
    {.name = "ring-1.2", .prompt = "Grüße ", .times = 4000},
    {.name = "aws-lc-1.2", .prompt = "Grüße ", .times = 4000},
};
#define CALL_COUNT (sizeof CALLS / sizeof *CALLS)

static const struct call *call_of(const char *name) {
    for (size_t i = 0; i < CALL_COUNT; i++)
        if (!strcmp(CALLS[i].name, name)) return &CALLS[i];
    die(name);
    return NULL;
}

static bool verdict(const char *name, bool good) {
    printf("test %s ... %s\n", name, good ? "ok" : "FAILED");
    return good;
}

// ---- texts

static char *prompt_of(const struct call *call) {
    size_t room = call->prompt ? strlen(call->prompt) * call->times : call->prompt_length;
    char *text = malloc(room + 16);
    size_t length = 0;
    for (unsigned i = 0; length < room; i++)
        length += call->prompt ? sprintf(text + length, "%s", call->prompt)
                               : sprintf(text + length, "%c%06x ", call->name[0], i);
    text[room] = 0;
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
    return formatted(200, "what %s asked for, answered in these words", call->name);
}

static char *body_of(const struct call *call) {
    char *prompt = prompt_of(call);
    return formatted(strlen(prompt) + 500,
        "{\"model\":\"vm-%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
        call->name, call->streamed ? "true" : "false", prompt);
}

// ---- calls

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
            want = (body + 4 - bytes) + atol(strcasestr(bytes, "Content-Length: ") + 16);
    }
    free(bytes);
}

static void reply_whole(struct end *e, const struct call *call) {
    char *body = formatted(1000,
        "{\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
        "\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_tokens\":11}}",
        call->name, reply_of(call));
    char *whole = formatted(2000,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n%s",
        strlen(body), body);
    send_all(e, whole, strlen(whole));
}

static void reply_streamed(struct end *e, const struct call *call) {
    const char *head = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
                       "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    send_all(e, head, strlen(head));
    char *reply = reply_of(call);
    size_t length = strlen(reply), each = length / PIECES + 1;
    for (size_t at = 0; at < length; at += each) {
        char *event = formatted(1000,
            "data: {\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion.chunk\",\"created\":1,"
            "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%.*s\"},"
            "\"finish_reason\":null}]}\n\n", call->name, (int)each, reply + at);
        char *chunk = formatted(1200, "%zx\r\n%s\r\n", strlen(event), event);
        send_all(e, chunk, strlen(chunk));
    }
    const char *last = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    send_all(e, last, strlen(last));
}

static void answer(struct end *e, const struct call *call) {
    read_request(e);
    (call->streamed ? reply_streamed : reply_whole)(e, call);
}

// Whether the kernel took single steps in this process. It makes a page for them, whose first
// slot is for return probes; the others hold instructions, and none is cleared again.
static bool was_stepped(void) {
#ifdef __x86_64__
    const size_t slot = 128;
#else
    const size_t slot = 4;
#endif
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1000];
    unsigned long from, to;
    bool stepped = false;
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "[uprobes]") && sscanf(line, "%lx-%lx", &from, &to) == 2)
            for (const char *byte = (char *)from + slot; byte < (char *)to; byte++)
                stepped |= *byte != 0;
    fclose(maps);
    return stepped;
}

static void serve_call(int fd, void *argument) {
    const struct call *call = argument;
    struct end e = end_of(fd, false, call->carrier == MEMORY ? SOCKET : call->carrier);
    answer(&e, call);
    if (call->carrier == BARE && was_stepped()) _exit(2);
    over(&e);
}

static void make_call(const struct call *call) {
    pid_t child;
    int fd = with_server(call->carrier, serve_call, (void *)call, &child);
    struct end e = end_of(fd, true, call->carrier);
    char *body = body_of(call);
    char *whole = formatted(strlen(body) + 500,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: model.test\r\n"
        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    send_all(&e, whole, strlen(whole));
    char bytes[4096];
    while (receive(&e, bytes, sizeof bytes)) {}
    bool stepped = was_stepped();
    over(&e);
    int status;
    waitpid(child, &status, 0);
    if (call->carrier == BARE)
        verdict("cheap", !stepped && !status);
    else if (status)
        die("server");
}

// Serves the call to another program.
static int serve(const struct call *call, char **program) {
    struct sockaddr_in at;
    int waiting = listener(&at);
    char *kept = formatted(100, "/tmp/%s.pem", call->name);
    SSL_CTX *ctx = context(false, kept);
    pid_t child = fork();
    if (child == 0) {
        close(waiting);
        setenv("OPENAI_BASE_URL",
               formatted(100, "https://127.0.0.1:%d/v1", ntohs(at.sin_port)), 1);
        setenv("SSL_CERT_FILE", kept, 1);
        setenv("CANARY", "sk-canary", 1);
        setenv("BODY", body_of(call), 1);
        execvp(*program, program);
        die(*program);
    }
    // A program that never comes must not be waited for.
    alarm(200);
    struct end e = {SOCKET, false, accept(waiting, NULL, NULL), NULL};
    if (e.fd < 0) die("accept");
    shake_hands(&e, ctx);
    answer(&e, call);
    over(&e);
    int status;
    waitpid(child, &status, 0);
    return status != 0;
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

static bool check(const char *output, const struct call *call) {
    static const char *KINDS[] = {"\"kind\":\"client\"", "\"kind\":\"server\""};
    char *prompt = prompt_of(call), *reply = reply_of(call);
    int found[2] = {0, 0};
    char *copy = strdup(output), *rest = copy;
    for (char *line; (line = strsep(&rest, "\n"));)
        for (int k = 0; k < 2; k++)
            found[k] += strstr(line, KINDS[k]) && strstr(line, prompt) && strstr(line, reply);
    free(copy);
    return verdict(call->name, found[0] == 1 && found[1] == 1);
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "call") && argc > 2) {
        for (int i = 2; i < argc; i++) make_call(call_of(argv[i]));
        return 0;
    }
    if (!strcmp(mode, "serve") && argc > 3) return serve(call_of(argv[2]), argv + 3);
    if (!strcmp(mode, "check") && argc > 3) {
        char *output = contents(argv[2]);
        bool good = true;
        for (int i = 3; i < argc; i++) good &= check(output, call_of(argv[i]));
        return !good;
    }
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
    fprintf(stderr, "usage: tls call NAME... | serve NAME PROGRAM... | check FILE NAME... | clean | "
                    "echo KIND SIZE COUNT CPU [released]\n");
    return 2;
}
