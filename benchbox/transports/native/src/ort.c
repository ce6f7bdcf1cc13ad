// ONNX Runtime through its C interface, a table of functions whose places never change. What is
// used here is declared, each with its place; the tests run every one of them.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner.h"

#define API 14  // the first with all that is used; later libraries have it, too
#define ERRORS_ONLY 3
#define SEQUENTIAL 0
#define FROM_DEVICE 0
#define DEFAULT_MEMORY 0
#define MOST_AXES 32
#define CPU_PROVIDER "CPUExecutionProvider"

typedef struct Status Status;
typedef struct Env Env;
typedef struct Options Options;
typedef struct Session Session;
typedef struct Binding Binding;
typedef struct Value Value;
typedef struct Memory Memory;
typedef struct Shape Shape;
typedef struct Allocator Allocator;

#define AT(place, result, name, ...)       \
    struct {                               \
        void *before_##name[place];        \
        result (*name)(__VA_ARGS__);       \
    };
typedef union {
    AT(2, const char *, GetErrorMessage, const Status *)
    AT(3, Status *, CreateEnv, int level, const char *name, Env **)
    AT(7, Status *, CreateSession, const Env *, const char *path, const Options *, Session **)
    AT(10, Status *, CreateSessionOptions, Options **)
    AT(13, Status *, SetSessionExecutionMode, Options *, int mode)
    AT(22, Status *, SetSessionLogSeverityLevel, Options *, int level)
    AT(24, Status *, SetIntraOpNumThreads, Options *, int)
    AT(25, Status *, SetInterOpNumThreads, Options *, int)
    AT(31, Status *, SessionGetOutputCount, const Session *, size_t *)
    AT(37, Status *, SessionGetOutputName, const Session *, size_t, Allocator *, char **)
    AT(49, Status *, CreateTensorWithDataAsOrtValue, const Memory *, void *bytes, size_t size,
       const int64_t *shape, size_t axes, int type, Value **)
    AT(50, Status *, IsTensor, const Value *, int *)
    AT(51, Status *, GetTensorMutableData, Value *, void **)
    AT(60, Status *, GetTensorElementType, const Shape *, int *)
    AT(61, Status *, GetDimensionsCount, const Shape *, size_t *)
    AT(62, Status *, GetDimensions, const Shape *, int64_t *, size_t)
    AT(65, Status *, GetTensorTypeAndShape, const Value *, Shape **)
    AT(69, Status *, CreateCpuMemoryInfo, int allocator, int kind, Memory **)
    AT(76, Status *, AllocatorFree, Allocator *, void *)
    AT(78, Status *, GetAllocatorWithDefaultOptions, Allocator **)
    AT(93, void, ReleaseStatus, Status *)
    AT(95, void, ReleaseSession, Session *)
    AT(96, void, ReleaseValue, Value *)
    AT(99, void, ReleaseTensorTypeAndShapeInfo, Shape *)
    AT(100, void, ReleaseSessionOptions, Options *)
    AT(125, Status *, GetAvailableProviders, char ***, int *)
    AT(126, Status *, ReleaseAvailableProviders, char **, int)
    AT(130, Status *, AddSessionConfigEntry, Options *, const char *key, const char *value)
    AT(133, Status *, RunWithBinding, Session *, const void *options, const Binding *)
    AT(134, Status *, CreateIoBinding, Session *, Binding **)
    AT(135, void, ReleaseIoBinding, Binding *)
    AT(136, Status *, BindInput, Binding *, const char *name, const Value *)
    AT(137, Status *, BindOutput, Binding *, const char *name, const Value *)
    AT(138, Status *, BindOutputToDevice, Binding *, const char *name, const Memory *)
    AT(140, Status *, GetBoundOutputValues, const Binding *, Allocator *, Value ***, size_t *)
    AT(142, void, ClearBoundOutputs, Binding *)
} Functions;

typedef struct {
    const Functions *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} Base;

typedef struct {
    void *bytes;
    size_t size;
    Value *value;
} Input;

typedef struct {
    char *name;
    Value *value;
    int type;  // UNTYPED where it is no tensor
    size_t axes, count;
    int64_t shape[MOST_AXES];
} Output;

struct Graph {
    Session *session;
    Binding *binding;
    Input *inputs;
    Output *outputs;
    size_t input_count, output_count;
};

// The element types by their numbers: as requests and as ONNX Runtime call them, bytes of one, and
// the bits of a float that are all set where it is not finite.
enum { UNTYPED = 0, STRING = 8 };
static const struct {
    const char *dtype, *name;
    size_t bytes;
    uint64_t exponent;
} types[] = {{NULL, "other", 0, 0}, {"float32", "float", 4, 0x7F800000},
             {"uint8", "uint8", 1, 0}, {"int8", "int8", 1, 0},
             {"uint16", "uint16", 2, 0}, {"int16", "int16", 2, 0},
             {"int32", "int32", 4, 0}, {"int64", "int64", 8, 0}, {NULL, "string", 0, 0},
             {"bool", "bool", 1, 0}, {"float16", "float16", 2, 0x7C00},
             {"float64", "double", 8, 0x7FF0000000000000}, {"uint32", "uint32", 4, 0},
             {"uint64", "uint64", 8, 0}};
#define TYPES ((int)(sizeof types / sizeof *types))

static const Base *base;
static const Functions *ort;
static Env *env;
static Memory *memory;
static Allocator *allocator;

static bool ok(Status *status) {
    if (!status) return true;
    fail("ONNX Runtime: %s", ort->GetErrorMessage(status));
    ort->ReleaseStatus(status);
    return false;
}

static void released(Status *status) {  // of a call whose failure changes nothing
    if (status) ort->ReleaseStatus(status);
}

bool ort_open(const char *library) {
    void *opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!opened) return fail("ONNX Runtime cannot be opened: %s", dlerror());
    const Base *(*get_base)(void) = NULL;
    *(void **)&get_base = dlsym(opened, "OrtGetApiBase");
    base = get_base ? get_base() : NULL;
    ort = base ? base->GetApi(API) : NULL;
    if (!ort) return fail("%s is no ONNX Runtime that this program can use", library);
    return ok(ort->CreateEnv(ERRORS_ONLY, "benchbox", &env)) &&
           ok(ort->CreateCpuMemoryInfo(FROM_DEVICE, DEFAULT_MEMORY, &memory)) &&
           ok(ort->GetAllocatorWithDefaultOptions(&allocator));
}

const char *ort_version(void) { return base->GetVersionString(); }

bool reply_providers(Reply *reply) {
    char **names;
    int count;
    if (!ok(ort->GetAvailableProviders(&names, &count))) return false;
    bool has_cpu = false;
    for (int i = 0; i < count; i++) has_cpu |= !strcmp(names[i], CPU_PROVIDER);
    released(ort->ReleaseAvailableProviders(names, count));
    reply_open(reply, "providers", '[');  // the others have options that are not set here
    if (has_cpu) reply_text(reply, NULL, CPU_PROVIDER);
    reply_close(reply, ']');
    return true;
}

static bool configure(Options *options, int threads, const int *cpus, int count) {
    char masks[MOST_CPUS * 6] = "";
    for (int i = 1; i < threads && count >= threads; i++) {  // it counts processors from 1
        snprintf(masks + strlen(masks), 8, i > 1 ? ";%d" : "%d", cpus[i] + 1);
    }
    return ok(ort->SetSessionLogSeverityLevel(options, ERRORS_ONLY)) &&
           ok(ort->SetIntraOpNumThreads(options, threads)) &&
           ok(ort->SetInterOpNumThreads(options, 1)) &&
           ok(ort->SetSessionExecutionMode(options, SEQUENTIAL)) &&
           ok(ort->AddSessionConfigEntry(options, "session.set_denormal_as_zero", "1")) &&
           (threads == 1 ||
            ok(ort->AddSessionConfigEntry(options, "session.force_spinning_stop", "1"))) &&
           (!*masks ||
            ok(ort->AddSessionConfigEntry(options, "session.intra_op_thread_affinities", masks)));
}

static bool open_session(Graph *graph, const char *path, int threads, const int *cpus, int count) {
    Options *options = NULL;
    bool opened = ok(ort->CreateSessionOptions(&options)) &&
                  configure(options, threads, cpus, count) &&
                  ok(ort->CreateSession(env, path, options, &graph->session)) &&
                  ok(ort->CreateIoBinding(graph->session, &graph->binding));
    if (options) ort->ReleaseSessionOptions(options);
    return opened;
}

static bool read_shape(const Json *request, int64_t *shape, size_t *axes, size_t *count) {
    const Json *list = json_get(request, "shape");
    *axes = 0;
    *count = 1;
    if (!list || list->kind != LIST) return fail("an input has no 'shape'");
    for (const Json *each = list->child; each; each = each->next) {
        if (*axes == MOST_AXES) return fail("an input has more than %d axes", MOST_AXES);
        int64_t *axis = &shape[(*axes)++];
        if (!json_whole(each, "shape", 0, 0x1p40, axis)) return false;
        if (__builtin_mul_overflow(*count, (size_t)*axis, count)) {
            return fail("an input is too large");
        }
    }
    return true;
}

static int type_of(const char *dtype) {
    for (int type = 1; type < TYPES; type++) {
        if (types[type].dtype && !strcmp(types[type].dtype, dtype)) return type;
    }
    fail("an input is of type %s, which is not known here", dtype);
    return UNTYPED;
}

static bool read_data(const char *path, Input *input, size_t size) {
    struct stat facts;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool fits = file >= 0 && !fstat(file, &facts) && (size_t)facts.st_size == size;
    size_t done = 0, room = size ? size : 1;
    if (!fits) fail("%s is no file of %zu bytes, as this input has", path, size);
    void *made = fits ? mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                      : MAP_FAILED;
    if (made != MAP_FAILED) input->bytes = made, input->size = room;
    else if (fits) fits = fail("no memory for an input of %zu bytes", size);
    while (fits && done < size) {
        ssize_t got = read(file, (char *)made + done, size - done);
        if (got <= 0) fits = fail("%s cannot be read", path);
        else done += (size_t)got;
    }
    if (file >= 0) close(file);
    return fits;
}

static bool bind_input(Graph *graph, const Json *request) {
    Input *input = &graph->inputs[graph->input_count++];
    const char *name = json_text(request, "name");
    const char *dtype = name ? json_text(request, "dtype") : NULL;
    const char *data = dtype ? json_text(request, "data") : NULL;
    int64_t shape[MOST_AXES];
    size_t axes, count, size;
    int type = data ? type_of(dtype) : UNTYPED;
    if (type == UNTYPED || !read_shape(request, shape, &axes, &count)) return false;
    if (__builtin_mul_overflow(count, types[type].bytes, &size)) {
        return fail("an input is too large");
    }
    return read_data(data, input, size) &&
           ok(ort->CreateTensorWithDataAsOrtValue(memory, input->bytes, size, shape, axes, type,
                                                  &input->value)) &&
           ok(ort->BindInput(graph->binding, name, input->value));
}

static bool bind_inputs(Graph *graph, const Json *request) {
    const Json *list = json_get(request, "inputs");
    size_t count = 0;
    if (!list || list->kind != LIST) return fail("the request has no 'inputs'");
    for (const Json *each = list->child; each; each = each->next) count++;
    if (!(graph->inputs = calloc(count + 1, sizeof *graph->inputs))) return fail("no memory");
    for (const Json *each = list->child; each; each = each->next) {
        if (!bind_input(graph, each)) return false;
    }
    return true;
}

static bool bind_outputs(Graph *graph) {
    size_t count = 0;
    if (!ok(ort->SessionGetOutputCount(graph->session, &count))) return false;
    if (!(graph->outputs = calloc(count + 1, sizeof *graph->outputs))) return fail("no memory");
    for (size_t i = 0; i < count; i++) {
        char **name = &graph->outputs[i].name;
        if (!ok(ort->SessionGetOutputName(graph->session, i, allocator, name)) ||
            !ok(ort->BindOutputToDevice(graph->binding, *name, memory)))
            return false;
        graph->output_count++;
    }
    return true;
}

static bool describe(Output *output) {
    int is_tensor = 0;
    Shape *shape = NULL;
    if (!output->value || !ok(ort->IsTensor(output->value, &is_tensor)) || !is_tensor) {
        return output->value != NULL;
    }
    bool known = ok(ort->GetTensorTypeAndShape(output->value, &shape)) &&
                 ok(ort->GetTensorElementType(shape, &output->type)) &&
                 ok(ort->GetDimensionsCount(shape, &output->axes)) &&
                 (output->axes <= MOST_AXES || fail("an output has too many axes")) &&
                 ok(ort->GetDimensions(shape, output->shape, output->axes));
    if (shape) ort->ReleaseTensorTypeAndShapeInfo(shape);
    output->count = 1;
    for (size_t i = 0; known && i < output->axes; i++) output->count *= (size_t)output->shape[i];
    return known;
}

static size_t element_bytes(const Output *output) {
    return output->type < TYPES ? types[output->type].bytes : 0;
}

// Keep the first call's output buffers, so that no later call allocates any.
static bool keep_outputs(Graph *graph) {
    Value **made = NULL;
    size_t count = 0;
    if (!ok(ort->GetBoundOutputValues(graph->binding, allocator, &made, &count))) return false;
    for (size_t i = 0; i < count && i < graph->output_count; i++) graph->outputs[i].value = made[i];
    released(ort->AllocatorFree(allocator, made));
    ort->ClearBoundOutputs(graph->binding);
    for (size_t i = 0; i < graph->output_count; i++) {
        Output *output = &graph->outputs[i];
        if (!describe(output)) return output->value ? false : fail("an output has no value");
        bool stays = output->type != UNTYPED && output->type != STRING;
        if (!ok(stays ? ort->BindOutput(graph->binding, output->name, output->value)
                      : ort->BindOutputToDevice(graph->binding, output->name, memory)))
            return false;
    }
    return true;
}

static bool is_finite(const Output *output, bool *finite) {
    size_t bytes = element_bytes(output);
    uint64_t exponent = output->type < TYPES ? types[output->type].exponent : 0;
    char *data;
    if (!exponent) return true;
    if (!ok(ort->GetTensorMutableData(output->value, (void **)&data))) return false;
    for (size_t i = 0; i < output->count; i++) {
        uint64_t value = 0;
        memcpy(&value, data + i * bytes, bytes);  // both processors are little-endian
        if ((value & exponent) == exponent) *finite = false;
    }
    return true;
}

static bool first_calls(Graph *graph, Opened *opened) {
    int64_t start = now_ns();
    if (!graph_call(graph)) return false;
    opened->first_call_s = (double)(now_ns() - start) / 1e9;
    if (!keep_outputs(graph)) return false;
    opened->finite = true;
    for (size_t i = 0; i < graph->output_count; i++) {
        if (!is_finite(&graph->outputs[i], &opened->finite)) return false;
    }
    return graph_call(graph);
}

Graph *graph_open(const Json *request, int threads, const int *cpus, int count, Opened *opened) {
    const char *path = json_text(request, "path");
    const char *provider = path ? json_text(request, "provider") : NULL;
    Graph *graph = provider ? calloc(1, sizeof *graph) : NULL;
    if (!graph) return NULL;
    int64_t start = now_ns();
    bool fits = !strcmp(provider, CPU_PROVIDER) ||
                fail("the native runner has only the " CPU_PROVIDER ", not the %s", provider);
    fits = fits && open_session(graph, path, threads, cpus, count);
    opened->load_s = (double)(now_ns() - start) / 1e9;
    if (fits && bind_inputs(graph, request) && bind_outputs(graph) && first_calls(graph, opened)) {
        return graph;
    }
    graph_close(graph);
    return NULL;
}

bool graph_call(Graph *graph) {
    return ok(ort->RunWithBinding(graph->session, NULL, graph->binding));
}

void reply_outputs(Reply *reply, const Graph *graph) {
    reply_open(reply, "outputs", '[');
    for (size_t i = 0; i < graph->output_count; i++) {
        const Output *output = &graph->outputs[i];
        const char *type = output->type < TYPES ? types[output->type].name : "other";
        char name[32];
        snprintf(name, sizeof name, "tensor(%s)", type);
        reply_open(reply, NULL, '{');
        reply_text(reply, "name", output->name);
        reply_text(reply, "type", output->type == UNTYPED ? "no tensor" : name);
        if (output->type != UNTYPED) {
            reply_open(reply, "shape", '[');
            for (size_t j = 0; j < output->axes; j++) {
                reply_number(reply, NULL, (double)output->shape[j]);
            }
            reply_close(reply, ']');
        }
        reply_close(reply, '}');
    }
    reply_close(reply, ']');
}

bool write_outputs(const Graph *graph, const char *path) {
    FILE *file = fopen(path, "wb");
    bool written = file != NULL;
    for (size_t i = 0; written && i < graph->output_count; i++) {
        const Output *output = &graph->outputs[i];
        size_t bytes = element_bytes(output);
        void *data;
        if (!bytes || !output->count) continue;
        if (!ok(ort->GetTensorMutableData(output->value, &data))) break;
        written = fwrite(data, bytes, output->count, file) == output->count;
    }
    if (file && fclose(file)) written = false;
    return written || fail("the outputs cannot be written to %s", path);
}

void graph_close(Graph *graph) {
    if (graph->binding) ort->ReleaseIoBinding(graph->binding);
    for (size_t i = 0; i < graph->output_count; i++) {
        if (graph->outputs[i].value) ort->ReleaseValue(graph->outputs[i].value);
        released(ort->AllocatorFree(allocator, graph->outputs[i].name));
    }
    for (size_t i = 0; i < graph->input_count; i++) {
        if (graph->inputs[i].value) ort->ReleaseValue(graph->inputs[i].value);
        if (graph->inputs[i].bytes) munmap(graph->inputs[i].bytes, graph->inputs[i].size);
    }
    if (graph->session) ort->ReleaseSession(graph->session);
    free(graph->inputs);
    free(graph->outputs);
    free(graph);
}
