/* What a stand-in is told: "key value" lines of a text file that the environment variable TOLD
 * names. It is read anew each time, so that a test can change it while the library is loaded. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long long told(const char *format, const char *key, long long otherwise) {
    const char *path = getenv(TOLD);
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256], name[64];
    long long value;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, format, name, &value) == 2 && !strcmp(name, key)) otherwise = value;
    if (file) fclose(file);
    return otherwise;
}

static long long setting(const char *key, long long otherwise) {
    return told("%63s %lld", key, otherwise);
}

/* The code that "fail FUNCTION CODE" gives a function. */
static int failing(const char *function) {
    return (int)told("fail %63s %lld", function, 0);
}

/* Add to the file that the environment variable TOLD_LOG names, if it does. */
static void say(const char *format, ...) {
    const char *path = getenv(TOLD "_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    va_list arguments;
    if (!file) return;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fclose(file);
}
