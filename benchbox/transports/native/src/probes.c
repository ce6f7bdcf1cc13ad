// The sentinels of benchbox.agent.sentinel: a product of two 96x96 matrices on every processor of
// the run, and a copy of 4 MiB. They tell the state of the machine; only their changes count.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runner.h"

#define SIZE 96
#define CALLS 4  // the first is untimed, of the others the fastest counts
#define STREAM_BYTES (4u << 20)
#define STREAM_CALLS 3
#define STREAM_PAUSE 50  // times a reading that took long, until the next: 2% of the time
#define ROWS 4           // of the product are computed together, by VECTORS * 4 columns
#define VECTORS 2

typedef float Vector __attribute__((vector_size(16), aligned(16)));
typedef struct {
    float left[SIZE][SIZE], right[SIZE][SIZE], product[SIZE][SIZE];
} Matrices;
typedef struct {
    int cpu;
    bool lost;
    int64_t ns;
    Matrices *matrices;
    sem_t asked, answered;
} Other;

static Matrices *own;
static Other *others;
static int other_count;
static float *source, *target;
static int64_t reading, spent_ns, stands_until;

// Pages of their own, so that all processes lay them out alike.
static void *pages(size_t size) {
    void *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return made == MAP_FAILED ? NULL : made;
}

static Matrices *new_matrices(void) {
    Matrices *made = pages(sizeof *made);
    uint32_t state = 1;
    for (int i = 0; made && i < SIZE * SIZE; i++) {
        state = state * 1664525u + 1013904223u;
        made->left[i / SIZE][i % SIZE] = (float)(state >> 8) / (1 << 24) - 0.5f;
        state = state * 1664525u + 1013904223u;
        made->right[i / SIZE][i % SIZE] = (float)(state >> 8) / (1 << 24) - 0.5f;
    }
    return made;
}

static void tile(Matrices *m, int row, int column) {
    Vector sums[ROWS][VECTORS] = {0};
    for (int k = 0; k < SIZE; k++) {
        const Vector *right = (const Vector *)&m->right[k][column];
        for (int i = 0; i < ROWS; i++) {
            float left = m->left[row + i][k];
            for (int v = 0; v < VECTORS; v++) sums[i][v] += left * right[v];
        }
    }
    for (int i = 0; i < ROWS; i++) memcpy(&m->product[row + i][column], sums[i], sizeof sums[i]);
}

static void multiply(Matrices *m) {
    for (int row = 0; row < SIZE; row += ROWS) {
        for (int column = 0; column < SIZE; column += VECTORS * 4) tile(m, row, column);
    }
    __asm__ volatile("" ::: "memory");  // every product counts, although nobody reads it
}

static int64_t compute(Matrices *matrices) {
    int64_t fastest = INT64_MAX;
    multiply(matrices);
    for (int i = 1; i < CALLS; i++) {
        int64_t start = now_ns();
        multiply(matrices);
        int64_t took = now_ns() - start;
        if (took < fastest) fastest = took;
    }
    return fastest;
}

static void *answer(void *given) {
    Other *other = given;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(other->cpu, &set);
    other->lost = sched_setaffinity(0, sizeof set, &set) != 0;
    for (;;) {
        while (sem_wait(&other->asked)) continue;
        other->ns = compute(other->matrices);
        sem_post(&other->answered);
    }
    return NULL;
}

bool probes_open(const int *cpus, int count) {
    own = new_matrices();
    others = calloc((size_t)count, sizeof *others);
    source = pages(STREAM_BYTES);
    target = pages(STREAM_BYTES);
    if (!own || !others || !source || !target) return fail("no memory for the probes");
    for (size_t i = 0; i < STREAM_BYTES / sizeof *source; i++) source[i] = target[i] = 1.0f;
    for (int i = 1; i < count; i++) {
        pthread_t thread;
        Other *other = &others[i - 1];
        other->cpu = cpus[i];
        other->matrices = new_matrices();
        sem_init(&other->asked, 0, 0);
        sem_init(&other->answered, 0, 0);
        if (!other->matrices || pthread_create(&thread, NULL, answer, other)) {
            return fail("no thread can be started to probe processor %d", cpus[i]);
        }
        pthread_detach(thread);
        other_count = i;
    }
    int64_t first;
    return probe_compute(&first);
}

// With several threads the others' are timed first: while they run, this one waits.
bool probe_compute(int64_t *ns) {
    *ns = 0;
    for (int i = 0; i < other_count; i++) {
        sem_post(&others[i].asked);
        while (sem_wait(&others[i].answered)) continue;
        if (others[i].lost) {
            return fail("no thread of this process may run on processor %d", others[i].cpu);
        }
        if (others[i].ns > *ns) *ns = others[i].ns;
    }
    int64_t here = compute(own);
    if (here > *ns) *ns = here;
    return true;
}

int64_t probe_copy(void) {
    int64_t fastest = INT64_MAX;
    for (int i = 0; i < STREAM_CALLS; i++) {
        int64_t start = now_ns();
        memcpy(target, source, STREAM_BYTES);
        __asm__ volatile("" ::: "memory");
        int64_t took = now_ns() - start;
        if (i && took < fastest) fastest = took;
    }
    return fastest;
}

// Where a copy takes long it is made less often: the last reading stands for a while.
int64_t probe_stream(void) {
    int64_t start = now_ns();
    if (start >= stands_until) {
        reading = probe_copy();
        int64_t end = now_ns();
        spent_ns += end - start;
        stands_until = end + STREAM_PAUSE * (end - start);
    }
    return reading;
}

int64_t streamed_ns(void) {
    int64_t spent = spent_ns;
    spent_ns = 0;
    return spent;
}
