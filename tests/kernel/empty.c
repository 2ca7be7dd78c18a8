// Empty probes at libssl's public functions: what any tracer must at least cost.
//
// An empty program on SSL_write, and one each at entry and return of SSL_read. Says
// `ready` and holds them until its standard input ends.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    exit(1);
}

// `return 0`.
static int empty_program(void) {
    struct bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr attr = {
        .prog_type = BPF_PROG_TYPE_KPROBE,
        .insn_cnt = sizeof code / sizeof *code,
        .insns = (unsigned long)code,
        .license = (unsigned long)"GPL",
    };
    int fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    if (fd < 0) die("BPF_PROG_LOAD");
    return fd;
}

static int number_in(const char *path, const char *format) {
    int number;
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, format, &number) != 1) die(path);
    fclose(file);
    return number;
}

#define PMU "/sys/bus/event_source/devices/uprobe/"

static void attach(int program, const char *library, unsigned long offset, int at_return) {
    struct perf_event_attr attr = {
        .type = number_in(PMU "type", "%d"),
        .size = sizeof attr,
        .config = at_return ? 1UL << number_in(PMU "format/retprobe", "config:%d") : 0,
        .uprobe_path = (unsigned long)library,
        .probe_offset = offset,
    };
    int fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) die("perf_event_open");
    if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, program)) die("PERF_EVENT_IOC_SET_BPF");
    if (ioctl(fd, PERF_EVENT_IOC_ENABLE, 0)) die("PERF_EVENT_IOC_ENABLE");
}

// Where a function lies in the file that it was mapped from.
static unsigned long offset_of(void *function, char *path) {
    unsigned long from, to, offset, address = (unsigned long)function;
    char line[1000];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %899s", &from, &to, &offset, path) == 4 &&
            from <= address && address < to) {
            fclose(maps);
            return address - from + offset;
        }
    die("no mapping");
    return 0;
}

int main(void) {
    char path[900];
    int program = empty_program();
    unsigned long at = offset_of(dlsym(RTLD_DEFAULT, "SSL_write"), path);
    attach(program, path, at, 0);
    at = offset_of(dlsym(RTLD_DEFAULT, "SSL_read"), path);
    attach(program, path, at, 0);
    attach(program, path, at, 1);
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF) {}
    // Keeps the library mapped however the linker is set.
    return SSL_library_init() ? 0 : 1;
}
