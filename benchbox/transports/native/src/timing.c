// The timed loop, in the order of benchbox.agent.timing and .pacing: the reasons are written there.
// And the ratio of benchbox.agent.denormals.
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "runner.h"

#define MOST_TIMED 500
#define MOST_SETTLING 10
#define STEADY 0.95
#define MARK_NS 20000000
#define MARK_PAUSE 50  // times a reading that took long: 2% of the time
#define SHORT 10       // times a reading
#define NS 1e9
#define PAIRS 3
#define MOST_PAIRS 12
#define LONGEST_NS 1000000000
#define SUSPECT 1.02

typedef struct {
    int64_t *latencies, *switches, timed;
    int64_t *calls_before, *readings, marks, room;
    int64_t probed_ns;
} Taken;

static bool timed_call(Graph *graph, int64_t *ns) {
    int64_t start = now_ns();
    bool ok = graph_call(graph);
    *ns = now_ns() - start;
    return ok;
}

static bool settle(const Burst *burst, int64_t *last) {
    if (!timed_call(burst->graph, last)) return false;
    for (int i = 0; i < (burst->stream ? MOST_SETTLING : 0); i++) {
        int64_t before = *last;
        if (!timed_call(burst->graph, last)) return false;
        if ((double)*last > STEADY * (double)before) break;
    }
    return true;
}

static bool take_mark(const Burst *burst, Taken *taken, int64_t calls, int64_t *took) {
    int64_t start = now_ns(), ns = 0;
    if (taken->marks == taken->room) return fail("a burst has more marks than calls");
    if (burst->stream) ns = probe_copy();
    else if (!probe_compute(&ns)) return false;
    taken->calls_before[taken->marks] = calls;
    taken->readings[taken->marks++] = ns;
    *took = now_ns() - start;
    taken->probed_ns += *took;
    leave_if_alone();
    return true;
}

static bool mark_within(const Burst *burst, Taken *taken, int64_t calls, int64_t last_ns,
                        int64_t *due) {
    int64_t took;
    if (!take_mark(burst, taken, calls, &took)) return false;
    if (last_ns < SHORT * took && !graph_call(burst->graph)) return false;
    *due = now_ns() + (took * MARK_PAUSE > MARK_NS ? took * MARK_PAUSE : MARK_NS);
    return true;
}

static bool untimed_calls(const Burst *burst, int64_t count) {
    int64_t asked = now_ns();
    for (int64_t i = 0; i < count; i++) {
        if (!graph_call(burst->graph)) return false;
        if (now_ns() - asked > MARK_NS) {
            leave_if_alone();
            asked = now_ns();
        }
    }
    return true;
}

static bool in_a_row(const Burst *burst, Taken *taken, int64_t stride) {
    int64_t last, due, took, seen;
    if (!settle(burst, &last) || !mark_within(burst, taken, 0, last, &due)) return false;
    seen = switches_now(burst->threads);
    for (int64_t i = 0; i < taken->timed; i++) {
        if (stride > 1) {
            if (!untimed_calls(burst, stride - 1)) return false;
            seen = switches_now(burst->threads);
        }
        int64_t start = now_ns();
        bool ok = graph_call(burst->graph);
        int64_t end = now_ns();
        if (!ok) return false;
        int64_t now = switches_now(burst->threads);
        taken->latencies[i] = end - start;
        taken->switches[i] = now - seen;
        seen = now;
        if (end >= due && i + 1 < taken->timed) {
            if (!mark_within(burst, taken, i + 1, end - start, &due)) return false;
            seen = switches_now(burst->threads);
        }
    }
    return take_mark(burst, taken, taken->timed, &took);
}

static void sleep_until(int64_t due) {
    for (int64_t left; (left = due - now_ns()) > 0;) {
        struct timespec rest = {left / 1000000000, left % 1000000000};
        nanosleep(&rest, NULL);
    }
}

static bool at_a_rate(const Burst *burst, Taken *taken, int64_t *slept_ns) {
    double period_ns = burst->period_s * NS, slot = 0;
    int64_t last, worked = 0;
    if (!settle(burst, &last)) return false;
    int64_t begin = now_ns();
    for (int64_t i = 0; i < taken->timed; i++) {
        slot = fmax(slot, floor((double)(now_ns() - begin) / period_ns)) + 1;
        sleep_until(begin + (int64_t)rint(slot * period_ns));
        leave_if_alone();
        int64_t seen = switches_now(burst->threads);
        if (!timed_call(burst->graph, &taken->latencies[i])) return false;
        taken->switches[i] = switches_now(burst->threads) - seen;
        worked += taken->latencies[i];
    }
    *slept_ns = now_ns() - begin - worked;
    return true;
}

static void reply_list(Reply *reply, const char *key, const int64_t *values, int64_t count) {
    reply_open(reply, key, '[');
    for (int64_t i = 0; i < count; i++) reply_number(reply, NULL, (double)values[i]);
    reply_close(reply, ']');
}

static void reply_taken(Reply *reply, const Taken *taken) {
    reply_list(reply, "latencies_ns", taken->latencies, taken->timed);
    reply_list(reply, "switches", taken->switches, taken->timed);
    reply_open(reply, "marks", '[');
    for (int64_t i = 0; i < taken->marks; i++) {
        reply_open(reply, NULL, '[');
        reply_number(reply, NULL, (double)taken->calls_before[i]);
        reply_number(reply, NULL, (double)taken->readings[i]);
        reply_close(reply, ']');
    }
    reply_close(reply, ']');
}

static bool run(const Burst *burst, Taken *taken, int64_t stride, Reply *reply) {
    int64_t streams[2], count = burst->stream || burst->period_s > 0 ? 0 : 2, slept = -1;
    Seen before, after;
    if (count) streams[0] = probe_stream();
    witness_look(&before);
    if (!(burst->period_s > 0 ? at_a_rate(burst, taken, &slept) : in_a_row(burst, taken, stride)))
        return false;
    witness_look(&after);
    if (count) streams[1] = probe_stream();
    reply_taken(reply, taken);
    if (slept >= 0) reply_number(reply, "slept_ns", (double)slept);
    reply_text(reply, "probe", burst->stream ? "stream" : "compute");
    reply_list(reply, "stream_ns", streams, count);
    reply_number(reply, "probed_ns", (double)(taken->probed_ns + streamed_ns()));
    reply_bool(reply, "pool", burst->threads > 1);
    reply_between(reply, &before, &after);
    return true;
}

bool burst_run(const Burst *burst, Reply *reply) {
    bool paced = burst->period_s > 0;  // then every call is timed
    int64_t stride = !paced && burst->calls > MOST_TIMED ? burst->calls / MOST_TIMED : 1;
    Taken taken = {.timed = burst->calls / stride};
    taken.room = taken.timed + 2;
    int64_t *all = calloc((size_t)taken.room, 4 * sizeof *all);
    if (!all) return fail("no memory for a burst of %lld calls", (long long)burst->calls);
    taken.latencies = all;
    taken.switches = all + taken.room;
    taken.calls_before = all + 2 * taken.room;
    taken.readings = all + 3 * taken.room;
    bool ok = run(burst, &taken, stride, reply);
    free(all);
    return ok;
}

// The mode of the calling thread that flushes denormals: the bits, and how it is read and set.
#if defined(__x86_64__)
#define FLUSH 0x8040u
static uint64_t mode(void) { return __builtin_ia32_stmxcsr(); }
static void set_mode(uint64_t value) { __builtin_ia32_ldmxcsr((unsigned)value); }
#elif defined(__aarch64__)
#define FLUSH (1u << 24)
static uint64_t mode(void) {
    uint64_t value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
}
static void set_mode(uint64_t value) { __asm__ volatile("msr fpcr, %0" ::"r"(value)); }
#endif

bool denormal_ratio(Graph *graph, double *ratio) {
    uint64_t flushing = mode();
    int64_t end = now_ns() + LONGEST_NS, least[2] = {INT64_MAX, INT64_MAX}, ns;
    *ratio = NAN;
    if ((flushing & FLUSH) != FLUSH) return true;
    for (int i = 0; i < MOST_PAIRS; i++) {
        if (i && (now_ns() >= end || (i >= PAIRS && *ratio <= SUSPECT))) break;
        for (int with = 1; with >= 0; with--) {
            set_mode(with ? flushing & ~(uint64_t)FLUSH : flushing);
            bool ok = timed_call(graph, &ns);
            set_mode(flushing);
            if (!ok) return false;
            if (ns < least[with]) least[with] = ns;
        }
        *ratio = (double)least[1] / (double)(least[0] > 0 ? least[0] : 1);
    }
    return true;
}
