// Whether the processor is emulated, by the signs of benchbox.agent.emulation; the reasons for each
// are written there.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runner.h"

#define USER_MODE "qemu-user"
#define SYSTEM_MODE "qemu-system"
#define E_MACHINE 18  // behind 16 bytes of identification and e_type

static bool elf_machine(const char *path, char *machine) {
    char header[E_MACHINE + 2];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = file >= 0 && read(file, header, sizeof header) == sizeof header &&
              !memcmp(header, "\x7f" "ELF", 4);
    if (file >= 0) close(file);
    if (ok) memcpy(machine, header + E_MACHINE, 2);
    return ok;
}

// The program that translates this one is built for another processor.
static const char *translator(void) {
    static char path[4096];
    char believed[2], started[2];
    const char *link = "/proc/thread-self/exe";
    if (!elf_machine("/proc/self/exe", believed) || !elf_machine(link, started)) return NULL;
    ssize_t size = memcmp(believed, started, 2) ? readlink(link, path, sizeof path - 1) : -1;
    if (size < 0) return NULL;
    path[size] = '\0';
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return strstr(name, "qemu") ? USER_MODE : name;
}

// A file of /proc/self that is not in /proc is the emulator's own.
static const char *intercepted(void) {
    struct stat opened, folder;
    int file = open("/proc/self/auxv", O_RDONLY | O_CLOEXEC);
    if (file < 0) return NULL;
    int known = fstat(file, &opened);
    close(file);
    if (stat("/proc/self", &folder)) return errno == ENOENT ? USER_MODE : NULL;
    return known || opened.st_dev == folder.st_dev ? NULL : USER_MODE;
}

static bool is_missing(long result) { return result == -1 && errno == ENOSYS; }

// Two system calls that it does not translate. Android may end the process over them.
static const char *left_out(void) {
    void *head = NULL;
    size_t length = 0;
    if (!access("/system/bin/linker64", F_OK)) return NULL;
    if (!is_missing(syscall(SYS_get_robust_list, 0, &head, &length))) return NULL;
    return is_missing(syscall(SYS_rseq, NULL, 0, -1, 0)) ? USER_MODE : NULL;
}

// A model that only a translator has.
static const char *said_to_be(void) {
    char *text = file_text("/proc/cpuinfo"), *rest = text, *line;
    bool implementer = false, part = false, is_x86 = false;
    while (rest && (line = strsep(&rest, "\n"))) {
        char *value = strchr(line, ':');
        if (!value) continue;
        value += 1 + strspn(value + 1, " \t");
        implementer |= !strncmp(line, "CPU implementer", 15) && !strcmp(value, "0x00");
        part |= !strncmp(line, "CPU part", 8) && !strcmp(value, "0x051");
        is_x86 |= !strncmp(line, "model name", 10) && !strncmp(value, "QEMU TCG", 8);
    }
    free(text);
    return (implementer && part) || is_x86 ? SYSTEM_MODE : NULL;
}

const char *emulator(void) {
    const char *found = translator();
    if (!found) found = intercepted();
    if (!found) found = left_out();
    return found ? found : said_to_be();
}
