// JSON: parses one request in place, and writes one reply. Parsed values lie in blocks that the
// next parse frees; their strings lie in the line itself.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"

#define DEEPEST 64
#define BLOCK 1024
#define MOST_VALUES (1 << 20)  // a request for a hundred thousand bursts has half as many

typedef struct Block {
    struct Block *before;
    Json values[BLOCK];
} Block;

static Block *blocks;
static size_t values;

static Json *new_value(Kind kind) {
    if (values == MOST_VALUES) {
        fail("the request has more than %d values", MOST_VALUES);
        return NULL;
    }
    if (values % BLOCK == 0) {
        Block *block = malloc(sizeof *block);
        if (!block) {
            fail("no memory for the request");
            return NULL;
        }
        block->before = blocks;
        blocks = block;
    }
    Json *value = &blocks->values[values++ % BLOCK];
    *value = (Json){.kind = kind};
    return value;
}

static void forget(void) {
    while (blocks) {
        Block *before = blocks->before;
        free(blocks);
        blocks = before;
    }
    values = 0;
}

static char *skip(char *at) { return at + strspn(at, " \t\r\n"); }

static int hex4(const char *at) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

static char *put_utf8(char *to, int code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    } else {
        *to++ = (char)(0xF0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 63));
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    }
    return to;
}

// Decode what follows `\u` at `at`; move past it. A surrogate without its other half has no
// meaning and becomes the replacement character.
static bool unicode(char **at, char **to) {
    int code = hex4(*at);
    if (code <= 0) return fail("the request has \\u%.4s in a string", *at);
    *at += 4;
    if (code >= 0xD800 && code < 0xE000) {
        bool is_pair = code < 0xDC00 && (*at)[0] == '\\' && (*at)[1] == 'u';
        int low = is_pair ? hex4(*at + 2) : -1;
        bool fits = low >= 0xDC00 && low < 0xE000;
        code = fits ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;
        if (fits) *at += 6;
    }
    *to = put_utf8(*to, code);
    return true;
}

// Decode the string that begins behind a quote; its text never grows, so it stays where it is.
static char *string(char *at, const char **text) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char *to = at;
    *text = at;
    while (*at != '"') {
        if ((unsigned char)*at < 0x20) {
            fail("the request has a string that does not end, or a control character in one");
            return NULL;
        }
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        const char *name = at[1] ? strchr(names, at[1]) : NULL;
        at += 2;
        if (name) {
            *to++ = meant[name - names];
        } else if (at[-1] != 'u' || !unicode(&at, &to)) {
            fail("the request has an unknown \\ in a string");
            return NULL;
        }
    }
    *to = '\0';
    return at + 1;
}

static char *digits(char *at) { return at + strspn(at, "0123456789"); }

static char *number(char *at, double *value) {
    char *start = at, *whole = at + (*at == '-'), *end = digits(whole);
    bool ok = end > whole && (*whole != '0' || end == whole + 1);
    if (ok && *end == '.') {
        char *fraction = end + 1;
        end = digits(fraction);
        ok = end > fraction;
    }
    if (ok && (*end == 'e' || *end == 'E')) {
        char *exponent = end + 1 + (end[1] == '-' || end[1] == '+');
        end = digits(exponent);
        ok = end > exponent;
    }
    if (!ok) {
        fail("the request is no JSON at %.20s", start);
        return NULL;
    }
    *value = strtod(start, NULL);
    return end;
}

static char *parse(char *at, Json **result, int depth);

// Parse what is in brackets, from behind the opening one.
static char *parse_many(char *at, Json *parent, char closing, int depth) {
    Json **next = &parent->child;
    at = skip(at);
    if (*at == closing) return at + 1;
    for (;; at++) {
        const char *key = NULL;
        at = skip(at);
        if (parent->kind == OBJECT) {
            if (*at != '"' || !(at = string(at + 1, &key))) break;
            at = skip(at);
            if (*at++ != ':') break;
        }
        if (!(at = parse(at, next, depth + 1))) return NULL;
        (*next)->key = key;
        next = &(*next)->next;
        at = skip(at);
        if (*at == closing) return at + 1;
        if (*at != ',') break;
    }
    fail("the request is no JSON: a list or an object is broken");
    return NULL;
}

static char *parse(char *at, Json **result, int depth) {
    static const struct { const char *word; Kind kind; } words[] = {
        {"null", NOTHING}, {"true", YES}, {"false", NO}};
    at = skip(at);
    char first = *at;
    Kind kind = first == '{' ? OBJECT : first == '[' ? LIST : first == '"' ? TEXT : NUMBER;
    if (depth > DEEPEST) {
        fail("the request is nested more than %d deep", DEEPEST);
        return NULL;
    }
    Json *value = *result = new_value(kind);
    if (!value) return NULL;
    if (kind == OBJECT || kind == LIST) {
        return parse_many(at + 1, value, kind == LIST ? ']' : '}', depth);
    }
    if (kind == TEXT) return string(at + 1, &value->text);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t size = strlen(words[i].word);
        if (!strncmp(at, words[i].word, size)) {
            value->kind = words[i].kind;
            return at + size;
        }
    }
    return number(at, &value->number);
}

const Json *json_parse(char *line, size_t size) {
    Json *root = NULL;
    forget();
    if (memchr(line, '\0', size)) {
        fail("the request has a zero byte");
        return NULL;
    }
    char *end = parse(line, &root, 0);
    if (!end) return NULL;
    if (*skip(end) || root->kind != OBJECT) {
        fail("the request is no JSON object on a line of its own");
        return NULL;
    }
    return root;
}

const Json *json_get(const Json *object, const char *key) {
    const Json *found = NULL;  // of two with one name the last counts, as everywhere
    for (const Json *each = object->child; object->kind == OBJECT && each; each = each->next) {
        if (!strcmp(each->key, key)) found = each;
    }
    return found && found->kind != NOTHING ? found : NULL;
}

const char *json_text(const Json *object, const char *key) {
    const Json *value = json_get(object, key);
    if (value && value->kind == TEXT) return value->text;
    fail("the request has no text '%s'", key);
    return NULL;
}

bool json_whole(const Json *value, const char *what, double low, double high, int64_t *result) {
    double number = value && value->kind == NUMBER ? value->number : NAN;
    if (!(number >= low && number <= high) || number != floor(number)) {
        return fail("'%s' in the request is no whole number from %.0f to %.0f", what, low, high);
    }
    *result = (int64_t)number;
    return true;
}

static void put(Reply *reply, const char *bytes, size_t size) {
    if (reply->room - reply->size < size && !reply->lost) {
        size_t room = (reply->size + size) * 2 + 1024;
        char *grown = realloc(reply->bytes, room);
        reply->lost = !grown;
        if (grown) reply->bytes = grown, reply->room = room;
    }
    if (reply->lost) return;
    memcpy(reply->bytes + reply->size, bytes, size);
    reply->size += size;
}

// Return how many bytes the UTF-8 character at `at` has; 0 where it is none.
static size_t utf8_size(const unsigned char *at) {
    size_t size = at[0] >= 0xC2 && at[0] < 0xE0 ? 2 : at[0] >= 0xE0 && at[0] < 0xF0 ? 3
                  : at[0] >= 0xF0 && at[0] < 0xF5 ? 4 : 0;
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xC0) != 0x80) return 0;
    }
    bool is_long = (at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xF0 && at[1] < 0x90);
    bool is_half = at[0] == 0xED && at[1] >= 0xA0;
    return is_long || is_half || (at[0] == 0xF4 && at[1] >= 0x90) ? 0 : size;
}

static void put_quoted(Reply *reply, const char *text) {
    put(reply, "\"", 1);
    for (const char *at = text; *at;) {
        unsigned char byte = (unsigned char)*at;
        size_t size = byte < 0x80 ? 1 : utf8_size((const unsigned char *)at);
        if (size && byte >= 0x20 && byte != '"' && byte != '\\') {
            put(reply, at, size);
            at += size;
        } else {
            char escaped[8];  // a byte that is no text appears as a Latin letter
            snprintf(escaped, sizeof escaped, "\\u%04x", byte);
            put(reply, escaped, 6);
            at++;
        }
    }
    put(reply, "\"", 1);
}

static void begin(Reply *reply, const char *key) {
    char last = reply->size ? reply->bytes[reply->size - 1] : '[';
    if (last != '{' && last != '[') put(reply, ",", 1);
    if (key) {
        put_quoted(reply, key);
        put(reply, ":", 1);
    }
}

void reply_open(Reply *reply, const char *key, char bracket) {
    begin(reply, key);
    put(reply, &bracket, 1);
}

void reply_close(Reply *reply, char bracket) { put(reply, &bracket, 1); }

void reply_text(Reply *reply, const char *key, const char *text) {
    begin(reply, key);
    put_quoted(reply, text);
}

void reply_word(Reply *reply, const char *key, const char *word) {
    begin(reply, key);
    put(reply, word, strlen(word));
}

void reply_bool(Reply *reply, const char *key, bool value) {
    reply_word(reply, key, value ? "true" : "false");
}

void reply_number(Reply *reply, const char *key, double value) {
    char text[32];
    snprintf(text, sizeof text, "%.17g", value);
    reply_word(reply, key, isfinite(value) ? text : "null");
}
