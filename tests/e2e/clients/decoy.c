// A program that has the form of one with BoringSSL, by the reasons of its errors, and
// whose functions move something else: ciphertext. It does so on one connection after
// another, twenty a second, from the first line of its input to the end.

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "../src/ssl/ssl_lib.cc";

#define APART __attribute__((noinline, noclone))

static volatile int last_error;

APART void put_error(int library, int unused, int reason, const char *name, unsigned line) {
    last_error = library + unused + reason + name[0] + (int)line;
}

#define FAIL(reason) (put_error(16, 0, reason, file, __LINE__), -1)

APART int internal(char *ssl, char *buffer, int length) {
    if (ssl[0] == 'u') return FAIL(226);
    if (ssl[0] == 'h') return FAIL(215);
    memcpy(buffer, "\x17\x03\x03\x00\x40 not for us", 16);
    return length;
}

APART int as_read(char *ssl, char *buffer, int length) {
    if (ssl[0] == 'q') return FAIL(66);
    return internal(ssl, buffer, length);
}

APART int as_write(char *ssl, const char *buffer, int length) {
    if (ssl[0] == 'u') return FAIL(226);
    if (ssl[0] == 'l') return FAIL(111);
    if (ssl[0] == 'h') return FAIL(215);
    last_error = buffer[0];
    return length;
}

APART int others(char *ssl) {
    if (ssl[0] == '1') return FAIL(101);
    if (ssl[0] == '2') return FAIL(102);
    if (ssl[0] == '3') return FAIL(103);
    return 0;
}

int main(void) {
    static char connections[1024], buffer[64] = "\x17\x03\x03\x00\x3b", in[64];
    struct pollfd end = {.fd = 0, .events = POLLIN};
    puts("runs");
    fflush(stdout);
    if (read(0, in, sizeof in) <= 0) return 0;
    for (int i = 0; poll(&end, 1, 50) == 0; i++) {
        char *ssl = connections + i % (int)sizeof connections;
        others(ssl);
        as_write(ssl, buffer, sizeof buffer);
        as_read(ssl, in, sizeof in);
    }
    return 0;
}
