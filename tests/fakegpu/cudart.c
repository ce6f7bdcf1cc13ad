/* Stands in for libcudart: the functions that benchbox calls, over ordinary memory and a clock of
 * its own. FAKE_CUDA names a text file with "key value" lines, which is read anew at every call:
 *   devices N            how many there are            driver N / runtime N   versions, 13000 = 13.0
 *   fail FUNCTION CODE   that function returns CODE    memory BYTES           in all
 *   l2 BYTES             size of the cache             gpu_ns_per_mb N        of a fill or a copy
 *   moving 1             the host takes what it takes outside of these functions, else no time at all
 *   no_sleep 1           functions of the host only sleep, and are not called
 * FAKE_CUDA_LOG, if set, names a file to which every call on a stream is added.
 *
 * A stream runs in order. Its moments are host time or the end of what is before, whichever is
 * later, as on a GPU; the work on a stream takes as long as said, and what these functions take is
 * no time of the host. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define TOLD "FAKE_CUDA"
#include "told.h"

enum { INVALID = 1, OUT_OF_MEMORY = 2, TOO_OLD = 35, NO_DEVICE = 100, NO_SUCH = 101, BAD_HANDLE = 400,
       NOT_READY = 600 };
typedef struct { int64_t free_at; int alive; } Stream;
typedef struct { int64_t at; int recorded; int alive; } Event;

static size_t taken;
static int64_t entered, left; /* a function of these, by the real clock */
static int64_t skipped; /* what this clock is ahead of that one */

static int64_t real(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t now(void) { return entered + skipped; }

static void enter(void) {
    entered = real();
    if (left && !setting("moving", 0)) skipped -= entered - left;
}

static void leave(int *unused) {
    (void)unused;
    left = real();
    skipped -= left - entered;
}

#define ENTER                                    \
    __attribute__((cleanup(leave))) int code_;   \
    enter();                                     \
    if ((code_ = failing(__func__))) return code_
#define USE(handle) ENTER; if (!(handle)->alive) return BAD_HANDLE

/* Of large buffers only the beginning is really filled or copied: tests have no time to wait. */
static size_t really(size_t bytes) { return bytes < 1u << 20 ? bytes : 1u << 20; }

static int64_t work(size_t bytes) {
    return (int64_t)(bytes / 1e6 * setting("gpu_ns_per_mb", 1000));
}

static void add(Stream *stream, int64_t ns) {
    int64_t start = now();
    if (stream->free_at > start) start = stream->free_at;
    stream->free_at = start + ns;
}

static void wait_until(int64_t moment) {
    if (moment > now()) skipped += moment - now();
}

const char *cudaGetErrorString(int code) {
    switch (code) {
    case OUT_OF_MEMORY: return "out of memory";
    case TOO_OLD: return "CUDA driver version is insufficient for CUDA runtime version";
    case NO_DEVICE: return "no CUDA-capable device is detected";
    case NO_SUCH: return "invalid device ordinal";
    default: return code == 700 ? "an illegal memory access was encountered" : "unrecognized error code";
    }
}

int cudaDriverGetVersion(int *version) { ENTER; *version = (int)setting("driver", 13000); return 0; }
int cudaRuntimeGetVersion(int *version) { ENTER; *version = (int)setting("runtime", 13000); return 0; }

int cudaGetDeviceCount(int *count) {
    ENTER;
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    *count = visible && !*visible ? 0 : (int)setting("devices", 1);
    return *count ? 0 : NO_DEVICE;
}

int cudaSetDevice(int device) { ENTER; return device < setting("devices", 1) ? 0 : NO_SUCH; }

int cudaGetDeviceProperties(char *properties, int device) {
    ENTER;
    if (device >= setting("devices", 1)) return NO_SUCH;
    memset(properties, 0xff, 1008); /* the size of cudaDeviceProp in CUDA 13.0 */
    strcpy(properties, "NVIDIA Stand-in");
    return 0;
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    ENTER;
    (void)device;
    switch (attribute) {
    case 13: *value = 1980000; return 0;
    case 16: *value = 132; return 0;
    case 36: *value = 2619000; return 0;
    case 37: *value = 5120; return 0;
    case 38: *value = (int)setting("l2", 52428800); return 0;
    case 75: *value = 9; return 0;
    case 76: *value = 0; return 0;
    default: return INVALID;
    }
}

int cudaDeviceGetPCIBusId(char *text, int length, int device) {
    ENTER;
    snprintf(text, (size_t)length, "0000:%02X:00.0", 0x17 + device);
    return 0;
}

int cudaMemGetInfo(size_t *unused, size_t *total) {
    ENTER;
    *total = (size_t)setting("memory", 85899345920);
    *unused = *total - taken;
    return 0;
}

int cudaMalloc(void **pointer, size_t size) {
    ENTER;
    if (size > (size_t)setting("memory", 85899345920) - taken) return OUT_OF_MEMORY;
    size_t *block = malloc(size + 64);
    if (!block) return OUT_OF_MEMORY;
    *block = size;
    taken += size;
    *pointer = (char *)block + 64;
    return 0;
}

int cudaFree(void *pointer) {
    ENTER;
    if (!pointer) return 0;
    size_t *block = (size_t *)((char *)pointer - 64);
    taken -= *block;
    free(block);
    say("free\n");
    return 0;
}

int cudaStreamCreateWithFlags(Stream **stream, unsigned flags) {
    ENTER;
    *stream = calloc(1, sizeof **stream);
    (*stream)->alive = 1;
    say("stream flags=%u\n", flags);
    return 0;
}

int cudaStreamDestroy(Stream *stream) {
    USE(stream);
    stream->alive = 0;
    say("destroy stream\n");
    return 0;
}

int cudaStreamSynchronize(Stream *stream) {
    USE(stream);
    wait_until(stream->free_at);
    say("synchronize\n");
    return 0;
}

int cudaMemsetAsync(void *pointer, int value, size_t size, Stream *stream) {
    USE(stream);
    memset(pointer, value, really(size));
    add(stream, work(size));
    say("fill %zu\n", size);
    return 0;
}

int cudaMemcpyAsync(void *target, const void *source, size_t size, int kind, Stream *stream) {
    USE(stream);
    if (kind != 3) return INVALID;
    memcpy(target, source, really(size));
    add(stream, work(size));
    say("copy %zu\n", size);
    return 0;
}

/* The function is called at once, which may be early, and what it took is work of the stream; with
 * no_sleep it is not called, and was to sleep for so many microseconds. */
int cudaLaunchHostFunc(Stream *stream, void (*function)(void *), void *data) {
    USE(stream);
    int64_t start = real();
    if (setting("no_sleep", 0)) {
        add(stream, 1000 * (int64_t)(size_t)data);
    } else {
        function(data);
        add(stream, real() - start);
    }
    say("host %zu\n", (size_t)data);
    return 0;
}

int cudaEventCreate(Event **event) {
    ENTER;
    *event = calloc(1, sizeof **event);
    (*event)->alive = 1;
    return 0;
}

int cudaEventDestroy(Event *event) {
    USE(event);
    event->alive = 0;
    say("destroy event\n");
    return 0;
}

int cudaEventRecord(Event *event, Stream *stream) {
    USE(event);
    if (!stream->alive) return BAD_HANDLE;
    add(stream, 0);
    event->at = stream->free_at;
    event->recorded = 1;
    say("record\n");
    return 0;
}

int cudaEventSynchronize(Event *event) {
    USE(event);
    wait_until(event->at);
    return 0;
}

int cudaEventElapsedTime(float *ms, Event *start, Event *end) {
    ENTER;
    if (!start->recorded || !end->recorded) return BAD_HANDLE;
    if (end->at > now()) return NOT_READY;
    *ms = (float)((double)(end->at - start->at) / 1e6);
    return 0;
}
