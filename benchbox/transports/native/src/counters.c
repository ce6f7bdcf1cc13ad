// What the system says of disturbances, by the names of benchbox.agent.witness: files of /proc and
// /sys that are held open and read at both ends of a burst. What is not there stays unknown.
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

#include "runner.h"

#define LONGEST 65536  // bytes of a file that are read; in /proc/stat the processors come first
#define SENSORS 8      // phones have eighty
#define DEAREST_NS 50000  // a file that takes longer is left out
#define LAST_RUN_ON 36    // field 39 of /proc/*/stat, counted from 0 behind the program's name
#define STOLEN 8          // column of a processor's line in /proc/stat

static const char *const names[COUNTERS] = {
    "switches", "faults_minor", "faults_major", "migrations", "moved", "queued_ns", "steal_s",
    "pressure_us", "memory_pressure_us", "io_pressure_us", "thermal_throttles", "clock_khz",
    "temperature_c"};

typedef double Parse(const char *text);  // NAN: unknown
typedef struct {
    int file, counter;
    Parse *parse;
} Source;
typedef struct {
    long thread;
    double waited_ns;
} Queue;

static Source *sources;
static size_t source_count;
static Queue *queues;
static size_t queue_count;
static double queued_total;
static const int *watched;
static int watched_count, own_threads;
static char text[LONGEST + 1];

static const char *content(int file) {
    ssize_t size = pread(file, text, LONGEST, 0);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

static const char *column(const char *at, int index) {
    for (at += strspn(at, " "); index > 0 && *at; index--) {
        at += strcspn(at, " \n");
        at += strspn(at, " ");
    }
    return at;
}

// A whole number of at least 0, with nothing but white space behind it on its line.
static double number(const char *at) {
    at += strspn(at, " \t");
    size_t digits = strspn(at, "0123456789");
    return digits && digits < 30 && (!at[digits] || isspace((unsigned char)at[digits]))
               ? strtod(at, NULL) : NAN;
}

static double plain(const char *at) { return number(at); }

static double migrations(const char *at) {
    const char *line = strstr(at, "nr_migrations"), *colon = line ? strchr(line, ':') : NULL;
    return colon ? number(colon + 1) : NAN;
}

static double processor(const char *at) {
    const char *name = strrchr(at, ')');
    return name ? number(column(name + 1, LAST_RUN_ON)) : NAN;
}

static double queued(const char *at) {  // kernels that do not count write zeros
    return number(at) > 0 ? number(column(at, 1)) : NAN;
}

static double pressure(const char *at) {
    const char *total = strncmp(at, "some ", 5) ? NULL : strstr(at, "total=");
    return total ? number(total + 6) : NAN;
}

static double steal(const char *at) {
    double ticks = 0;
    for (int i = 0; i < watched_count; i++) {
        char start[16];
        snprintf(start, sizeof start, "\ncpu%d ", watched[i]);
        const char *line = strstr(at, start);
        ticks += line ? number(column(line + 1, STOLEN)) : NAN;
    }
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

static double clock_khz(const char *at) {
    double value = number(at);
    return value > 0 ? value : NAN;  // 0 is what a processor says that is off
}

static double celsius(const char *at) {  // thousandths of a degree; a few give whole degrees
    double value = number(at);
    value = value >= 1 && value < 150 ? value : value / 1000;
    return value >= 1 && value < 150 ? value : NAN;  // broken sensors say -273 or 255 degrees
}

static bool is_dear(int file) {
    int64_t least = INT64_MAX;
    for (int i = 0; i < 3; i++) {
        int64_t start = now_ns();
        content(file);
        int64_t took = now_ns() - start;
        if (took < least) least = took;
    }
    return least > DEAREST_NS;
}

__attribute__((format(printf, 3, 4)))
static void watch(int counter, Parse *parse, const char *format, ...) {
    char path[256];
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    vsnprintf(path, sizeof path, format, arguments);
    __builtin_va_end(arguments);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    Source *grown = is_dear(file) ? NULL : realloc(sources, (source_count + 1) * sizeof *sources);
    if (!grown) {
        close(file);
        return;
    }
    sources = grown;
    sources[source_count++] = (Source){file, counter, parse};
}

static bool is_of_a_processor(const char *zone) {
    static const char *const kinds[] = {"cpu", "core", "pkg", "package", "soc"};
    char path[320];
    snprintf(path, sizeof path, "/sys/class/thermal/%s/type", zone);
    char *type = file_text(path);
    bool found = false;
    for (size_t i = 0; type && i < sizeof kinds / sizeof *kinds; i++) {
        found |= strcasestr(type, kinds[i]) != NULL;
    }
    free(type);
    return found;
}

static int is_zone(const struct dirent *entry) {
    return !strncmp(entry->d_name, "thermal_zone", 12);
}

// The processors' sensors, any where none is known to be one.
static void watch_sensors(void) {
    struct dirent **zones;
    int count = scandir("/sys/class/thermal", &zones, is_zone, alphasort), known = 0, taken = 0;
    for (int i = 0; i < count; i++) known += is_of_a_processor(zones[i]->d_name);
    for (int i = 0; i < count; i++) {
        const char *zone = zones[i]->d_name;
        if (taken < SENSORS && (!known || is_of_a_processor(zone))) {
            watch(TEMPERATURE, celsius, "/sys/class/thermal/%s/temp", zone);
            taken++;
        }
        free(zones[i]);
    }
    if (count >= 0) free(zones);
}

void witness_open(int threads, const int *cpus, int count) {
    static const char own[] = "/proc/thread-self", all[] = "/sys/devices/system/cpu";
    own_threads = threads;
    watched = cpus;
    watched_count = count;
    if (!access("/proc/thread-self/sched", F_OK)) watch(MIGRATIONS, migrations, "%s/sched", own);
    else watch(PROCESSOR, processor, "%s/stat", own);
    if (threads == 1) watch(QUEUED, queued, "%s/schedstat", own);
    watch(STEAL, steal, "/proc/stat");
    watch(PRESSURE, pressure, "/proc/pressure/cpu");
    watch(MEMORY_PRESSURE, pressure, "/proc/pressure/memory");
    watch(IO_PRESSURE, pressure, "/proc/pressure/io");
    for (int i = 0; i < count; i++) {
        watch(CLOCK, clock_khz, "%s/cpu%d/cpufreq/scaling_cur_freq", all, cpus[i]);
        watch(THROTTLES, plain, "%s/cpu%d/thermal_throttle/core_throttle_count", all, cpus[i]);
    }
    watch_sensors();
}

static double waited_before(long thread) {
    for (size_t i = 0; i < queue_count; i++) {
        if (queues[i].thread == thread) return queues[i].waited_ns;
    }
    return 0;
}

// What all threads waited for a processor; threads come and go.
static double queued_by_all(void) {
    DIR *folder = opendir("/proc/self/task");
    Queue *now = NULL;
    size_t count = 0;
    for (struct dirent *each; folder && (each = readdir(folder));) {
        char path[320];
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", each->d_name);
        int file = isdigit((unsigned char)*each->d_name) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        Queue *grown = file < 0 ? NULL : realloc(now, (count + 1) * sizeof *now);
        double waited = grown ? queued(content(file)) : NAN;
        if (file >= 0) close(file);
        if (grown) now = grown;
        if (isnan(waited)) continue;
        long thread = strtol(each->d_name, NULL, 10);
        queued_total += fmax(0, waited - waited_before(thread));
        now[count++] = (Queue){thread, waited};
    }
    if (folder) closedir(folder);
    free(queues);
    queues = now;
    queue_count = count;
    return count ? queued_total : NAN;
}

static int who(int threads) { return threads > 1 ? RUSAGE_SELF : RUSAGE_THREAD; }

int64_t switches_now(int threads) {
    struct rusage usage;
    return getrusage(who(threads), &usage) ? 0 : usage.ru_nivcsw;
}

static double together(int counter, double one, double other) {
    if (counter == CLOCK) return fmin(one, other);  // an unknown one does not count
    if (counter == TEMPERATURE) return fmax(one, other);
    return one + other;  // unknown where one is
}

void witness_look(Seen *seen) {
    struct rusage usage;
    bool first[COUNTERS];
    for (int i = 0; i < COUNTERS; i++) seen->value[i] = NAN, first[i] = true;
    if (!getrusage(who(own_threads), &usage)) {
        seen->value[SWITCHES] = (double)usage.ru_nivcsw;
        seen->value[FAULTS_MINOR] = (double)usage.ru_minflt;
        seen->value[FAULTS_MAJOR] = (double)usage.ru_majflt;
    }
    if (own_threads > 1) seen->value[QUEUED] = queued_by_all();
    for (size_t i = 0; i < source_count; i++) {
        int counter = sources[i].counter;
        double value = sources[i].parse(content(sources[i].file)), *sum = &seen->value[counter];
        *sum = first[counter] ? value : together(counter, *sum, value);
        first[counter] = false;
    }
}

void reply_between(Reply *reply, const Seen *before, const Seen *after) {
    reply_open(reply, "seen", '{');
    for (int i = 0; i < COUNTERS; i++) {
        double a = before->value[i], b = after->value[i];
        if (isnan(a) || isnan(b)) continue;
        if (i == PROCESSOR) reply_number(reply, names[i], a != b);
        else if (i == CLOCK || i == TEMPERATURE) reply_number(reply, names[i], together(i, a, b));
        else if (b >= a) reply_number(reply, names[i], rint((b - a) * 1e9) / 1e9);
    }
    reply_close(reply, '}');
}
