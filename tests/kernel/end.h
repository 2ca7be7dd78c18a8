// One end of a connection: TLS by libssl over a socket or over memory, plain TCP, or TLS
// that the kernel does.

#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/tls.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    ERR_print_errors_fp(stderr);
    _exit(1);
}

// What carries the bytes.
enum carrier {
    SOCKET, // libssl, over a socket
    BARE,   // the same, set up by calls that nobody traces
    MEMORY,  // libssl over memory BIOs; the bytes are carried by hand
    PLAIN,   // no TLS
    KERNEL,  // the kernel's TLS, with keys that both ends know
};

struct end {
    enum carrier carrier;
    bool client;
    int fd;
    SSL *ssl;
};

// ---- certificate

// Of the machine itself. Who verifies it has to trust it alone.
static X509 *certificate(EVP_PKEY *key) {
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    X509V3_CTX none;
    X509V3_set_ctx_nodb(&none);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, &none, NID_subject_alt_name,
                                                "IP:127.0.0.1,DNS:localhost");
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_set_version(cert, 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_set_pubkey(cert, key);
    if (!names || !X509_add_ext(cert, names, -1) || !X509_sign(cert, key, EVP_sha256()))
        die("certificate");
    return cert;
}

// With a certificate of its own; it is put to the file `kept`, too, if one is named.
static SSL_CTX *context(bool client, const char *kept) {
    SSL_CTX *ctx = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = certificate(key);
    if (!SSL_CTX_use_certificate(ctx, cert) || !SSL_CTX_use_PrivateKey(ctx, key))
        die("certificate");
    if (kept) {
        FILE *file = fopen(kept, "w");
        if (!file || !PEM_write_X509(file, cert) || fclose(file)) die(kept);
    }
    return ctx;
}

// ---- libssl

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
    if (e->carrier != MEMORY) return false;
    carry_out(e);
    return SSL_get_error(e->ssl, result) == SSL_ERROR_WANT_READ && carry_in(e);
}

static void shake_hands(struct end *e, SSL_CTX *ctx) {
    e->ssl = SSL_new(ctx);
    if (e->carrier == MEMORY)
        SSL_set_bio(e->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    else if (e->carrier == SOCKET)
        SSL_set_fd(e->ssl, e->fd);
    else {
        SSL_set0_rbio(e->ssl, BIO_new_socket(e->fd, BIO_NOCLOSE));
        SSL_set0_wbio(e->ssl, BIO_new_socket(e->fd, BIO_NOCLOSE));
    }
    int r;
    do
        r = e->client ? SSL_connect(e->ssl) : SSL_accept(e->ssl);
    while (r != 1 && again(e, r));
    if (r != 1) die("handshake");
    if (e->carrier == MEMORY) carry_out(e);
}

// ---- the kernel

// What a handshake would have come to: for each direction a key of its own.
static void give_keys(struct end *e) {
    if (setsockopt(e->fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls")) die("TCP_ULP");
    for (int outgoing = 0; outgoing < 2; outgoing++) {
        struct tls12_crypto_info_aes_gcm_128 info = {
            .info = {TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_128}};
        memset(info.key, e->client == outgoing ? 1 : 2, sizeof info.key);
        if (setsockopt(e->fd, SOL_TLS, outgoing ? TLS_TX : TLS_RX, &info, sizeof info))
            die("keys of the socket");
    }
}

// ---- any

static struct end end_of(int fd, bool client, enum carrier carrier) {
    struct end e = {carrier, client, fd, NULL};
    if (carrier == KERNEL)
        give_keys(&e);
    else if (carrier != PLAIN)
        shake_hands(&e, context(client, NULL));
    return e;
}

static void over(struct end *e) {
    if (e->ssl) {
        if (!e->client) SSL_shutdown(e->ssl);
        SSL_free(e->ssl);
    }
    close(e->fd);
}

// Without libssl a client uses `read` and `write`, a server the calls for several buffers.
static ssize_t move(struct end *e, char *bytes, size_t length, bool outgoing) {
    struct iovec buffers[2] = {{bytes, length / 2}, {bytes + length / 2, length - length / 2}};
    struct msghdr message = {.msg_iov = buffers, .msg_iovlen = 2};
    if (e->client) return outgoing ? write(e->fd, bytes, length) : read(e->fd, bytes, length);
    return outgoing ? sendmsg(e->fd, &message, 0) : recvmsg(e->fd, &message, 0);
}

static void send_all(struct end *e, const char *bytes, size_t length) {
    if (!e->ssl) {
        for (size_t done = 0; done < length;) {
            ssize_t n = move(e, (char *)bytes + done, length - done, true);
            if (n <= 0) die("send");
            done += n;
        }
        return;
    }
    int r;
    do
        r = SSL_write(e->ssl, bytes, (int)length);
    while (r <= 0 && again(e, r));
    if (r != (int)length) die("SSL_write");
    if (e->carrier == MEMORY) carry_out(e);
}

// Bytes read, 0 at the end.
static size_t receive(struct end *e, char *bytes, size_t room) {
    ssize_t r;
    if (!e->ssl) {
        r = move(e, bytes, room, false);
        if (r < 0) die("receive");
        return r;
    }
    do
        r = SSL_read(e->ssl, bytes, (int)room);
    while (r <= 0 && again(e, (int)r));
    return r > 0 ? (size_t)r : 0;
}

static void receive_all(struct end *e, char *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        size_t n = receive(e, bytes + done, length - done);
        if (!n) die("end");
        done += n;
    }
}

// ---- pairs

static int listener(struct sockaddr_in *at) {
    socklen_t size = sizeof *at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (bind(fd, (void *)at, size) || listen(fd, 1) || getsockname(fd, (void *)at, &size))
        die("listen");
    return fd;
}

// The client's end first. What has no libssl crosses TCP, the rest a socket pair.
static void pair(int fds[2], enum carrier carrier) {
    if (carrier < PLAIN) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds)) die("socketpair");
        return;
    }
    struct sockaddr_in at;
    int waiting = listener(&at);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fds[0], (void *)&at, sizeof at)) die("connect");
    fds[1] = accept(waiting, NULL, NULL);
    if (fds[1] < 0) die("accept");
    close(waiting);
}

// Forks; gives the client's socket to the parent and runs `serve` in the child.
static int with_server(enum carrier carrier, void (*serve)(int, void *), void *argument,
                       pid_t *child) {
    int fds[2];
    pair(fds, carrier);
    *child = fork();
    if (*child == 0) {
        close(fds[0]);
        serve(fds[1], argument);
        _exit(0);
    }
    close(fds[1]);
    return fds[0];
}
