// What the files of the runner share. Functions that can fail return false after `fail` has kept
// the reason; nothing here is safe to call from two threads.
#ifndef RUNNER_H
#define RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL 1
#define MOST_CPUS 1024

// main.c: errors, and the clock that calls are timed with, in ns.
__attribute__((format(printf, 1, 2))) bool fail(const char *format, ...);
const char *failure(void);
int64_t now_ns(void);
void leave_if_alone(void);  // ends the process when nobody waits for an answer any more

// json.c: a request, which lives until the next is parsed, and a reply.
typedef enum { NOTHING, NO, YES, NUMBER, TEXT, LIST, OBJECT } Kind;
typedef struct Json {
    Kind kind;
    const char *key, *text;
    double number;
    struct Json *child, *next;
} Json;
typedef struct {
    char *bytes;
    size_t size, room;
    bool lost;  // there was no memory for all of it
} Reply;
const Json *json_parse(char *line, size_t size);  // NULL: failed; writes into the line
const Json *json_get(const Json *object, const char *key);  // NULL: not there, or null
const char *json_text(const Json *object, const char *key);  // NULL: failed
bool json_whole(const Json *value, const char *what, double low, double high, int64_t *result);
void reply_open(Reply *reply, const char *key, char bracket);
void reply_close(Reply *reply, char bracket);
void reply_text(Reply *reply, const char *key, const char *text);
void reply_number(Reply *reply, const char *key, double value);  // null where it is not finite
void reply_word(Reply *reply, const char *key, const char *word);  // true, false, null
void reply_bool(Reply *reply, const char *key, bool value);

// system.c: the machine, the threads of this process, its memory.
typedef struct {
    char **masks;
    size_t count;
} Masks;
char *file_text(const char *path);  // to be freed; NULL where it cannot be read
bool file_field(const char *path, const char *key, char *value, size_t size);
void host_facts(Reply *reply);
int usable_cpus(int *cpus);
bool choose_cluster(const char *word, int threads, int *cpus, int *count);
void choose_cpus(int threads, int *cpus, int *count);  // the usable, of which the first stay
bool pin(int cpu);
Masks masks_now(void);
void masks_free(Masks *masks);
void reply_affinity(Reply *reply);
bool check_pool(int threads, const int *cpus, const Masks *before);
double memory_of_process(const char *field);  // in bytes, NAN where unknown
double peak_rss_bytes(void);
double mark_peak(void);
const char *emulator(void);  // emulation.c; NULL: none is seen

// probes.c: the sentinels.
bool probes_open(const int *cpus, int count);
bool probe_compute(int64_t *ns);
int64_t probe_copy(void);    // a reading taken now, in ns
int64_t probe_stream(void);  // one that may be a while old
int64_t streamed_ns(void);   // what those took since this was last asked

// counters.c: what the system says of disturbances.
enum { SWITCHES, FAULTS_MINOR, FAULTS_MAJOR, MIGRATIONS, PROCESSOR, QUEUED, STEAL, PRESSURE,
       MEMORY_PRESSURE, IO_PRESSURE, THROTTLES, CLOCK, TEMPERATURE, COUNTERS };
typedef struct {
    double value[COUNTERS];  // NAN: the system does not say
} Seen;
void witness_open(int threads, const int *cpus, int count);
void witness_look(Seen *seen);
void reply_between(Reply *reply, const Seen *before, const Seen *after);
int64_t switches_now(int threads);

// ort.c: ONNX Runtime.
typedef struct Graph Graph;
typedef struct {
    double load_s, first_call_s;
    bool finite;
} Opened;
bool ort_open(const char *library);
const char *ort_version(void);
bool reply_providers(Reply *reply);
Graph *graph_open(const Json *request, int threads, const int *cpus, int count, Opened *opened);
bool graph_call(Graph *graph);
void reply_outputs(Reply *reply, const Graph *graph);
bool write_outputs(const Graph *graph, const char *path);
void graph_close(Graph *graph);

// timing.c: bursts, and what denormal numbers cost.
typedef struct {
    Graph *graph;
    int64_t calls;
    int threads;
    bool stream;
    double period_s;
} Burst;
bool burst_run(const Burst *burst, Reply *reply);  // the fields of timing.Burst
bool denormal_ratio(Graph *graph, double *ratio);  // NAN where it cannot be known

#endif
