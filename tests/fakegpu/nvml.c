/* Stands in for libnvidia-ml: the functions that benchbox calls. FAKE_NVML names a text file with
 * "key value" lines, which is read anew at every call:
 *   fail FUNCTION CODE      that function returns CODE
 *   sm / memory_clock / power_mw / energy_mj / temperature / busy / reasons N    what it reads
 *   process PID BYTES       one that computes; BYTES of -1: not known. "self" stands for this one
 *   cost_us N               how long each reading takes
 * FAKE_NVML_LOG names a file to which the name of every function called is added.
 * Built with -DOLD it has no function that came with later drivers. */
#define _GNU_SOURCE
#include <unistd.h>

#define TOLD "FAKE_NVML"
#include "told.h"

enum { INVALID = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned gpu, memory; } Utilisation;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version, sensor; int temperature; } Temperature;

static int device; /* its address is the handle */

static int entered(const char *function) {
    say("%s\n", function);
    usleep((useconds_t)setting("cost_us", 0));
    return failing(function);
}

#define ENTER do { int code_ = entered(__func__); if (code_) return code_; } while (0)

const char *nvmlErrorString(int code) {
    switch (code) {
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

int nvmlInitWithFlags(unsigned flags) { ENTER; (void)flags; return 0; }
int nvmlShutdown(void) { ENTER; return 0; }

int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **handle) {
    ENTER;
    if (strcmp(id, "0000:17:00.0")) return NOT_FOUND;
    *handle = &device;
    return 0;
}

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    ENTER;
    snprintf(text, length, "580.95.05");
    return 0;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned length) {
    ENTER;
    if (handle != &device) return INVALID;
    snprintf(text, length, "NVIDIA Stand-in");
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    ENTER;
    (void)handle;
    *memory = (Memory){85899345920ULL, 80000000000ULL, 5899345920ULL};
    return 0;
}

#define CLOCKS(function, sm, memory)                             \
    int function(void *handle, unsigned type, unsigned *mhz) {   \
        ENTER;                                                   \
        if (handle != &device || type - 1 > 1) return INVALID;   \
        *mhz = (unsigned)(type == 1 ? (sm) : (memory));          \
        return 0;                                                \
    }

CLOCKS(nvmlDeviceGetClockInfo, setting("sm", 1755), setting("memory_clock", 2619))
CLOCKS(nvmlDeviceGetMaxClockInfo, 1980, 2619)

#define NUMBER(function, type, key, otherwise)          \
    int function(void *handle, type *value) {           \
        ENTER;                                          \
        if (handle != &device) return INVALID;          \
        *value = (type)setting(key, otherwise);         \
        return 0;                                       \
    }

NUMBER(nvmlDeviceGetPowerUsage, unsigned, "power_mw", 312500)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, "power_limit_mw", 700000)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, "default_power_limit_mw", 700000)
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, "energy_mj", 123456789)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, "pcie_generation", 5)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, "pcie_lanes", 16)
NUMBER(nvmlDeviceGetPersistenceMode, unsigned, "persistence", 1)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, "reasons", 0)
#define MODE(function)                                                   \
    int function(void *handle, unsigned *current, unsigned *pending) {  \
        ENTER;                                                           \
        *current = *pending = 0;                                         \
        return handle == &device ? 0 : INVALID;                          \
    }

MODE(nvmlDeviceGetEccMode)
MODE(nvmlDeviceGetMigMode)

int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *celsius) {
    ENTER;
    if (handle != &device || sensor) return INVALID;
    *celsius = (unsigned)setting("temperature", 41);
    return 0;
}

#ifndef OLD
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, "reasons", 0)

int nvmlDeviceGetTemperatureV(void *handle, Temperature *temperature) {
    ENTER;
    if (handle != &device || temperature->sensor) return INVALID;
    if (temperature->version != (sizeof *temperature | 1u << 24)) return 25;
    temperature->temperature = (int)setting("temperature", 41);
    return 0;
}

#define PROCESSES nvmlDeviceGetComputeRunningProcesses_v3
#else
#define PROCESSES nvmlDeviceGetComputeRunningProcesses_v2
#endif

int nvmlDeviceGetUtilizationRates(void *handle, Utilisation *rates) {
    ENTER;
    (void)handle;
    *rates = (Utilisation){(unsigned)setting("busy", 17), 3};
    return 0;
}

int PROCESSES(void *handle, unsigned *count, Process *processes) {
    ENTER;
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256], pid[64];
    long long used;
    unsigned found = 0, room = *count;
    (void)handle;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "process %63s %lld", pid, &used) != 2) continue;
        unsigned number = strcmp(pid, "self") ? (unsigned)atoi(pid) : (unsigned)getpid();
        if (found < room && processes) processes[found] = (Process){number, (unsigned long long)used, 0, 0};
        found++;
    }
    if (file) fclose(file);
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : 0;
}
