// The machine, the threads of this process and its memory, as benchbox.agent.system has them.
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "runner.h"

#define CPUS "/sys/devices/system/cpu"
#define BIND_NS 1000000000  // for a new thread to bind itself, on a machine that is busy

char *file_text(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0, room = 0;
    char *text = NULL;
    for (ssize_t got = 1; file >= 0 && got > 0; size += (size_t)got) {
        if (room - size < 4097) {
            char *grown = realloc(text, room += 65536);
            if (!grown) break;
            text = grown;
        }
        got = read(file, text + size, 4096);
        if (got < 0) got = 0;
        text[size + (size_t)got] = '\0';
    }
    if (file >= 0) close(file);
    return text;
}

static char *stripped(char *text) {
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1])) *--end = '\0';
    return text + strspn(text, " \t");
}

// Find the first `key : value` line of a file.
bool file_field(const char *path, const char *key, char *value, size_t size) {
    char *text = file_text(path), *rest = text, *line;
    bool found = false;
    while (!found && rest && (line = strsep(&rest, "\n"))) {
        char *colon = strchr(line, ':');
        if (!colon) continue;
        *colon = '\0';
        found = !strcmp(stripped(line), key);
        if (found) snprintf(value, size, "%s", stripped(colon + 1));
    }
    free(text);
    return found;
}

static double kibibytes(const char *path, const char *key) {
    char value[64];
    return file_field(path, key, value, sizeof value) ? strtod(value, NULL) * 1024 : NAN;
}

double memory_of_process(const char *field) { return kibibytes("/proc/self/status", field); }

double peak_rss_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? NAN : (double)usage.ru_maxrss * 1024;
}

double mark_peak(void) {
    int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    bool marked = file >= 0 && write(file, "5", 1) == 1;  // proc(5): resets VmHWM
    if (file >= 0) close(file);
    return marked ? memory_of_process("VmRSS") : NAN;
}

static void reply_cpu(Reply *reply) {
    static const char *const keys[] = {"model name", "Model", "Hardware"};
    char value[256];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (file_field("/proc/cpuinfo", keys[i], value, sizeof value) && *value) {
            reply_text(reply, "cpu", value);
            return;
        }
    }
    char *board = file_text("/proc/device-tree/model");
    if (board && *stripped(board)) reply_text(reply, "cpu", stripped(board));
    free(board);
}

// What is the same for all who reach this system until it starts again.
static void reply_boot(Reply *reply) {
    char value[128], *text = file_text("/proc/sys/kernel/random/boot_id");
    if (text) {
        snprintf(value, sizeof value, "%s%s", stripped(text), emulator() ? emulator() : "");
        reply_text(reply, "boot", value);
    }
    free(text);
}

void host_facts(Reply *reply) {
    struct utsname name;
    int cpus[MOST_CPUS];
    static char flags[8192];
    uname(&name);
    reply_open(reply, "host", '{');
    reply_text(reply, "system", name.sysname);
    reply_text(reply, "kernel", name.release);
    reply_text(reply, "machine", name.machine);
    reply_cpu(reply);
    reply_number(reply, "cpus", (double)sysconf(_SC_NPROCESSORS_ONLN));
    reply_number(reply, "cpus_usable", usable_cpus(cpus));
    double total = kibibytes("/proc/meminfo", "MemTotal");
    double available = kibibytes("/proc/meminfo", "MemAvailable");
    if (!isnan(total)) reply_number(reply, "memory_bytes", total);
    if (!isnan(available)) reply_number(reply, "memory_available_bytes", available);
    if (file_field("/proc/cpuinfo", "flags", flags, sizeof flags)) {
        reply_bool(reply, "virtual", strstr(flags, " hypervisor") != NULL);
    }
    if (emulator()) reply_text(reply, "emulated", emulator());
    reply_boot(reply);
    reply_close(reply, '}');
}

int usable_cpus(int *cpus) {
    cpu_set_t set;
    int count = 0;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    for (int cpu = 0; cpu < MOST_CPUS; cpu++) {
        if (CPU_ISSET(cpu, &set)) cpus[count++] = cpu;
    }
    return count;
}

static long capacity(int cpu) {
    static const char *const names[] = {"cpu_capacity", "cpufreq/cpuinfo_max_freq"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, CPUS "/cpu%d/%s", cpu, names[i]);
        char *text = file_text(path);
        long value = text && isdigit((unsigned char)*text) ? strtol(text, NULL, 10) : -1;
        free(text);
        if (value >= 0) return value;
    }
    return 0;
}

static bool shares_a_core(int cpu, int other) {
    char path[128];
    snprintf(path, sizeof path, CPUS "/cpu%d/topology/thread_siblings_list", cpu);
    char *one = file_text(path);
    snprintf(path, sizeof path, CPUS "/cpu%d/topology/thread_siblings_list", other);
    char *two = file_text(path);
    bool same = one && two && !strcmp(one, two);
    free(one);
    free(two);
    return same;
}

static long capacities[MOST_CPUS];

static int fastest_first(const void *left, const void *right) {
    int a = *(const int *)left, b = *(const int *)right;
    if (capacities[a] != capacities[b]) return capacities[a] < capacities[b] ? 1 : -1;
    return b - a;
}

// The fastest, and of equals the last; two that share a core only where there are not enough.
static void order(int *cpus, int usable) {
    int alone = 0, later[MOST_CPUS], rest = 0;
    qsort(cpus, (size_t)usable, sizeof *cpus, fastest_first);
    for (int i = 0; i < usable; i++) {
        bool shared = false;
        for (int j = 0; j < alone && !shared; j++) shared = shares_a_core(cpus[i], cpus[j]);
        if (shared) later[rest++] = cpus[i];
        else cpus[alone++] = cpus[i];
    }
    memcpy(cpus + alone, later, (size_t)rest * sizeof *cpus);
}

static int usable_with_capacities(int *cpus) {
    int usable = usable_cpus(cpus);
    for (int i = 0; i < usable; i++) capacities[cpus[i]] = capacity(cpus[i]);
    return usable;
}

void choose_cpus(int threads, int *cpus, int *count) {
    int usable = usable_with_capacities(cpus);
    order(cpus, usable);
    *count = threads < usable ? threads : usable;
}

// Of a cluster: `big` has the highest capacity, `little` the lowest, `middle` is between.
bool choose_cluster(const char *word, int threads, int *cpus, int *count) {
    int usable = usable_with_capacities(cpus), kept = 0;
    long low = LONG_MAX, high = -1;
    for (int i = 0; i < usable; i++) {
        low = capacities[cpus[i]] < low ? capacities[cpus[i]] : low;
        high = capacities[cpus[i]] > high ? capacities[cpus[i]] : high;
    }
    if (low >= high) {
        return fail("ValueError: all %d processors are equal: --cpus %s has no meaning here",
                    usable, word);
    }
    for (int i = 0; i < usable; i++) {
        long own = capacities[cpus[i]];
        const char *cluster = own == high ? "big" : own == low ? "little" : "middle";
        if (!strcmp(cluster, word)) cpus[kept++] = cpus[i];
    }
    if (!kept) return fail("ValueError: it has no cluster --cpus %s could mean", word);
    if (threads > kept) {
        return fail("ValueError: the %s cluster has %d processors, %d threads asked for", word,
                    kept, threads);
    }
    order(cpus, kept);
    *count = threads;
    return true;
}

bool pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (!sched_setaffinity(0, sizeof set, &set)) return true;
    return fail("no thread of this process may run on processor %d: %s", cpu, strerror(errno));
}

static int by_number(const void *left, const void *right) {
    long a = *(const long *)left, b = *(const long *)right;
    return a < b ? -1 : a > b;
}

Masks masks_now(void) {
    long tasks[MOST_CPUS];
    size_t count = 0;
    Masks found = {0};
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *each; folder && (each = readdir(folder)) && count < MOST_CPUS;) {
        if (isdigit((unsigned char)*each->d_name)) tasks[count++] = strtol(each->d_name, NULL, 10);
    }
    if (folder) closedir(folder);
    qsort(tasks, count, sizeof *tasks, by_number);
    found.masks = calloc(count + 1, sizeof *found.masks);
    for (size_t i = 0; i < count && found.masks; i++) {
        char path[64], mask[512];
        snprintf(path, sizeof path, "/proc/self/task/%ld/status", tasks[i]);
        if (!file_field(path, "Cpus_allowed_list", mask, sizeof mask)) continue;
        if ((found.masks[found.count] = strdup(mask))) found.count++;
    }
    return found;
}

void masks_free(Masks *masks) {
    for (size_t i = 0; i < masks->count; i++) free(masks->masks[i]);
    free(masks->masks);
}

void reply_affinity(Reply *reply) {
    Masks masks = masks_now();
    if (masks.count) {
        reply_open(reply, "affinity", '[');
        for (size_t i = 0; i < masks.count; i++) reply_text(reply, NULL, masks.masks[i]);
        reply_close(reply, ']');
    } else {
        reply_word(reply, "affinity", "null");
    }
    masks_free(&masks);
}

static int bound(const Masks *masks, int cpu) {
    char wanted[16];
    int count = 0;
    snprintf(wanted, sizeof wanted, "%d", cpu);
    for (size_t i = 0; i < masks->count; i++) count += !strcmp(masks->masks[i], wanted);
    return count;
}

// Every processor but the first must have got a thread bound to it alone.
bool check_pool(int threads, const int *cpus, const Masks *before) {
    int64_t until = now_ns() + BIND_NS;
    for (int i = 1; i < threads && before->count;) {
        Masks masks = masks_now();
        bool fresh = !masks.count || bound(&masks, cpus[i]) > bound(before, cpus[i]);
        masks_free(&masks);
        if (fresh) {
            i++;
        } else if (now_ns() > until) {
            return fail("no thread of the pool is bound to processor %d", cpus[i]);
        } else {
            nanosleep(&(struct timespec){0, 10000000}, NULL);
        }
    }
    return true;
}
