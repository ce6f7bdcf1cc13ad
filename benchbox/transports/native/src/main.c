// A benchbox agent without Python: `runner LIBONNXRUNTIME` answers the requests of benchbox.agent
// on stdin, on stdout. It ends when stdin closes, in the middle of a burst, too.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runner.h"

#define LONGEST_LINE (16u << 20)
#define CHUNK 65536u
#define MOST_CALLS 0x1p40

typedef struct Loaded {
    char *name;
    Graph *graph;
    struct Loaded *next;
} Loaded;

static int requests, replies;
static char reason[1024];
static const char *library;
static Loaded *loaded;
static int threads, cpus[MOST_CPUS], cpu_count;  // no threads: not greeted yet

bool fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    for (char *at = reason; *at; at++) {
        if (*at == '\n' || *at == '\r') *at = ' ';
    }
    return false;
}

const char *failure(void) { return reason; }

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void leave_if_alone(void) {
    struct pollfd asked = {.fd = requests, .events = POLLRDHUP};
    if (poll(&asked, 1, 0) > 0 && asked.revents & (POLLHUP | POLLRDHUP | POLLERR)) _exit(1);
}

static void send_line(Reply *reply) {
    static const char lost[] = "{\"reply\":null,\"error\":\"no memory for the reply\"}\n";
    reply_close(reply, '\n');
    const char *at = reply->lost ? lost : reply->bytes;
    size_t left = reply->lost ? sizeof lost - 1 : reply->size;
    while (left) {
        ssize_t sent = write(replies, at, left);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) _exit(1);  // nobody listens any more
        at += sent;
        left -= (size_t)sent;
    }
    free(reply->bytes);
    *reply = (Reply){0};
}

static void begin_reply(Reply *reply, const char *op) {
    reply_open(reply, NULL, '{');
    reply_text(reply, "reply", op);
}

static Loaded **find(const char *name) {
    Loaded **at = &loaded;
    while (*at && strcmp((*at)->name, name)) at = &(*at)->next;
    return at;
}

static void forget(Loaded **at) {
    Loaded *gone = *at;
    if (!gone) return;
    *at = gone->next;
    graph_close(gone->graph);
    free(gone->name);
    free(gone);
}

static bool read_cpus(const Json *request) {
    const Json *list = json_get(request, "cpus");
    if (!list || (list->kind == LIST && !list->child)) {
        choose_cpus(threads, cpus, &cpu_count);
        return true;
    }
    if (list->kind != LIST) {
        const char *word = json_text(request, "cpus");
        return word && choose_cluster(word, threads, cpus, &cpu_count);
    }
    cpu_count = 0;
    for (const Json *each = list->child; each && cpu_count < MOST_CPUS; each = each->next) {
        int64_t cpu;
        if (!json_whole(each, "cpus", 0, MOST_CPUS - 1, &cpu)) return false;
        cpus[cpu_count++] = (int)cpu;
    }
    return true;
}

static bool greet(const Json *request) {
    int64_t protocol, asked;
    if (threads) return fail("this runner has been greeted already");
    if (!json_whole(json_get(request, "protocol"), "protocol", PROTOCOL, PROTOCOL, &protocol) ||
        !json_whole(json_get(request, "threads"), "threads", 1, MOST_CPUS, &asked))
        return false;
    threads = (int)asked;
    if (read_cpus(request) && pin(cpus[0]) && ort_open(library) && probes_open(cpus, cpu_count)) {
        witness_open(threads, cpus, cpu_count);
        return true;
    }
    threads = 0;
    return false;
}

static bool hello(const Json *request, Reply *reply) {
    Reply host = {0};  // which counts the usable processors before this thread is bound to one
    host_facts(&host);
    reply_close(&host, '\0');
    bool ok = (!host.lost || fail("no memory")) && greet(request);
    if (ok) {
        begin_reply(reply, "hello");
        reply_number(reply, "protocol", PROTOCOL);
        reply_word(reply, NULL, host.bytes);
        reply_open(reply, "versions", '{');
        reply_text(reply, "onnxruntime", ort_version());
        reply_close(reply, '}');
        ok = reply_providers(reply);
        reply_open(reply, "cpus", '[');
        for (int i = 0; i < cpu_count; i++) reply_number(reply, NULL, cpus[i]);
        reply_close(reply, ']');
        reply_affinity(reply);
        reply_number(reply, "rss_bytes", memory_of_process("VmRSS"));
    }
    free(host.bytes);
    return ok;
}

static bool keep(const char *name, Graph *graph) {
    Loaded *made = calloc(1, sizeof *made);
    if (made && (made->name = strdup(name))) {
        made->graph = graph;
        forget(find(name));
        made->next = loaded;
        loaded = made;
        return true;
    }
    free(made);
    graph_close(graph);
    return fail("no memory");
}

static bool load(const Json *request, Reply *reply) {
    const char *name = json_text(request, "graph");
    if (!name) return false;
    if (!threads) return fail("this runner has not been greeted yet");
    double mark = mark_peak(), ratio = NAN;
    Masks masks = masks_now();
    Opened opened;
    Graph *graph = graph_open(request, threads, cpus, cpu_count, &opened);
    bool ok = graph && keep(name, graph) &&
              (cpu_count < threads || check_pool(threads, cpus, &masks));
    masks_free(&masks);
    const Json *wanted = json_get(request, "denormals"), *file = json_get(request, "outputs_file");
    bool is_short = threads == 1 && ok && opened.first_call_s < 1.0;
    if (ok && wanted && wanted->kind == YES && is_short) ok = denormal_ratio(graph, &ratio);
    if (ok && file) ok = file->kind == TEXT && write_outputs(graph, file->text);
    if (!ok) return false;
    begin_reply(reply, "load");
    reply_number(reply, "load_s", opened.load_s);
    reply_number(reply, "first_call_s", opened.first_call_s);
    reply_bool(reply, "finite", opened.finite);
    reply_number(reply, "denormal_ratio", ratio);
    reply_outputs(reply, graph);
    reply_affinity(reply);
    reply_number(reply, "rss_bytes", memory_of_process("VmRSS"));
    reply_number(reply, "peak_rss_bytes", peak_rss_bytes());
    reply_number(reply, "peak_bytes", memory_of_process("VmHWM") - mark);
    return true;
}

static bool read_burst(const Json *request, Burst *burst, const char **name) {
    const Json *id = request->kind == LIST ? request->child : NULL;
    if (!id || id->kind != TEXT) return fail("a burst names no graph");
    const Json *calls = id->next, *stream = calls ? calls->next : NULL;
    const Json *period = stream ? stream->next : NULL;
    *name = id->text;
    *burst = (Burst){.threads = threads, .stream = stream && stream->kind == YES};
    if (!json_whole(calls, "calls", 0, MOST_CALLS, &burst->calls)) return false;
    if (period && !(period->kind == NUMBER && period->number >= 0 && period->number <= 1e6)) {
        return fail("a burst has a period that is no number of seconds");
    }
    burst->period_s = period ? period->number : 0;
    if (!*find(*name)) return fail("no graph '%s' is loaded", *name);
    burst->graph = (*find(*name))->graph;
    return true;
}

static void one_burst(const Json *request) {
    Reply reply = {0};
    const char *name = "";
    Burst burst;
    leave_if_alone();
    bool ok = read_burst(request, &burst, &name);
    reply_open(&reply, NULL, '{');
    reply_open(&reply, "burst", '{');
    reply_text(&reply, "graph", name);
    size_t before = reply.size;
    if (!ok || !burst_run(&burst, &reply)) {
        reply.size = before;
        reply_text(&reply, "error", failure());
    }
    reply_close(&reply, '}');
    reply_close(&reply, '}');
    send_line(&reply);
}

static bool time_bursts(const Json *request, Reply *reply) {
    const Json *bursts = json_get(request, "bursts");
    if (!bursts || bursts->kind != LIST) return fail("the request has no 'bursts'");
    for (const Json *each = bursts->child; each; each = each->next) one_burst(each);
    begin_reply(reply, "time");
    reply_number(reply, "peak_rss_bytes", peak_rss_bytes());
    return true;
}

static bool unload(const Json *request, Reply *reply) {
    const char *name = json_text(request, "graph");
    if (!name) return false;
    forget(find(name));
    begin_reply(reply, "unload");
    return true;
}

static bool health(const Json *request, Reply *reply) {
    Seen seen;
    (void)request;
    if (!threads) return fail("this runner has not been greeted yet");
    witness_look(&seen);
    begin_reply(reply, "health");
    reply_number(reply, "temperature_c", seen.value[TEMPERATURE]);
    reply_open(reply, "setting", '{');
    reply_close(reply, '}');
    return true;
}

static bool bye(const Json *request, Reply *reply) {
    (void)request;
    begin_reply(reply, "bye");
    return true;
}

static bool perform(const char *op, const Json *request, Reply *reply) {
    static const struct { const char *op; bool (*handle)(const Json *, Reply *); } handlers[] = {
        {"hello", hello}, {"load", load}, {"time", time_bursts},
        {"health", health}, {"unload", unload}, {"bye", bye}};
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        if (!strcmp(handlers[i].op, op)) return handlers[i].handle(request, reply);
    }
    return fail("the native runner cannot do '%s'; with Python and onnxruntime on the device, as "
                "over ssh:// with Termux, benchbox can", op);
}

// Answer one line, NULL where it was too long; return whether it was the last.
static bool answer(char *line, size_t size) {
    Reply reply = {0};
    const char *op = "None";
    const Json *request = line ? json_parse(line, size) : NULL;
    if (!line) fail("a request of more than %u bytes", LONGEST_LINE);
    bool ok = request && (op = json_text(request, "op")) && perform(op, request, &reply);
    if (!op) op = "None";
    if (!ok) {
        reply.size = 0;
        begin_reply(&reply, op);
        reply_text(&reply, "error", failure());
    }
    bool is_last = ok && !strcmp(op, "bye");
    reply_close(&reply, '}');
    send_line(&reply);
    return is_last;
}

static void serve(void) {
    size_t size = 0;
    bool skipping = false;
    char *line = malloc(LONGEST_LINE + 1);  // pages that nothing is written to take no memory
    for (ssize_t got; line; size += (size_t)got) {
        if (size == LONGEST_LINE) {
            skipping = true;
            size = 0;
        }
        size_t left = LONGEST_LINE - size;
        got = read(requests, line + size, left < CHUNK ? left : CHUNK);
        if (got < 0 && errno == EINTR) got = 0;
        else if (got <= 0) return;
        for (char *end; (end = memchr(line + size, '\n', (size_t)got));) {
            *end = '\0';
            if (answer(skipping ? NULL : line, (size_t)(end - line))) return;
            skipping = false;
            got -= end + 1 - (line + size);
            size = 0;
            memmove(line, end + 1, (size_t)got);
        }
    }
}

int main(int count, char **arguments) {
    if (count != 2) {
        fputs("usage: runner LIBONNXRUNTIME; requests on stdin, replies on stdout\n", stderr);
        return 2;
    }
    library = arguments[1];
    setenv("ORT_DISABLE_TELEMETRY", "1", 1);
    signal(SIGPIPE, SIG_IGN);
    requests = fcntl(0, F_DUPFD_CLOEXEC, 3);
    replies = fcntl(1, F_DUPFD_CLOEXEC, 3);
    int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, 0);  // what libraries print to stdout goes to stderr, and they read nothing
    dup2(2, 1);
    serve();
    _exit(0);  // without tearing sessions down
}
