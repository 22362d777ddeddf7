/* What lies between the compiled signal path and a C program: memory for each stream, and blocks of any size. */

#include "percepnet.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HOP = 480, LATENCY = 1440, ALIGNMENT = 64 };

/* Made from the model and the compiled path: see export/image.py. */
extern const unsigned char percepnet_constants[];
extern const unsigned char percepnet_memory[];
extern const uint64_t percepnet_memory_size;
extern const uint64_t percepnet_samples_place;
extern const uint64_t percepnet_out_place;
extern const int32_t percepnet_post_filter_default;
extern const uint64_t percepnet_address_count;
extern const struct {
    uint32_t word, target, constant;
} percepnet_addresses[];
typedef int32_t path_function(void **result, void **error, int64_t path, int64_t hops, uint8_t post_filter, float dry);
extern path_function percepnet_path_base;
#ifdef PERCEPNET_FAST
extern path_function percepnet_path_fast;
#endif

struct percepnet {
    path_function *path;
    unsigned char *memory;
    void *allocated;
    float dry;
    int post_filter;
    int fixed;
    /* Samples that wait for the rest of their hop, and those of the last hop that were not asked for yet. */
    int filled;
    float waiting[HOP];
    float ready[HOP];
};

/* Compiled code asks for this when an array that it owns is not needed any more; it owns none. */
void NRT_MemInfo_call_dtor(void *info) { (void)info; }

static float *array(const percepnet *stream, uint64_t place) { return (float *)(void *)(stream->memory + place); }

void percepnet_reset(percepnet *stream) {
    memcpy(stream->memory, percepnet_memory, percepnet_memory_size);
    for (uint64_t i = 0; i < percepnet_address_count; i++) {
        const unsigned char *base = percepnet_addresses[i].constant ? percepnet_constants : stream->memory;
        uint64_t address = (uint64_t)(uintptr_t)(base + percepnet_addresses[i].target);
        memcpy(stream->memory + percepnet_addresses[i].word, &address, sizeof address);
    }
    stream->filled = 0;
    memset(stream->waiting, 0, sizeof stream->waiting);
    memset(stream->ready, 0, sizeof stream->ready);
}

percepnet *percepnet_create(void) {
    percepnet *stream = calloc(1, sizeof *stream);
    if (stream == NULL) return NULL;
    stream->allocated = malloc(percepnet_memory_size + ALIGNMENT);
    if (stream->allocated == NULL) {
        free(stream);
        return NULL;
    }
    uintptr_t place = (uintptr_t)stream->allocated;
    stream->memory = (unsigned char *)stream->allocated + (ALIGNMENT - place % ALIGNMENT) % ALIGNMENT;
    stream->path = percepnet_path_base;
#ifdef PERCEPNET_FAST
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) stream->path = percepnet_path_fast;
#endif
    stream->post_filter = percepnet_post_filter_default;
    percepnet_reset(stream);
    return stream;
}

/* One hop through the path. */
static void run_hop(percepnet *stream, const float *in, float *out) {
    void *result = NULL, *error = NULL;
    memcpy(array(stream, percepnet_samples_place), in, HOP * sizeof *in);
    stream->path(&result, &error, (int64_t)(intptr_t)stream->memory, 1, (uint8_t)stream->post_filter, stream->dry);
    memcpy(out, array(stream, percepnet_out_place), HOP * sizeof *out);
}

void percepnet_process(percepnet *stream, const float *in, float *out, size_t n) {
    if (stream->fixed && stream->filled == 0) {
        for (; n >= HOP; n -= HOP, in += HOP, out += HOP) run_hop(stream, in, out);
    }

    /* A sample goes out for each that comes in: those of the hop before, in the same place. */
    while (n > 0) {
        size_t part = (size_t)(HOP - stream->filled) < n ? (size_t)(HOP - stream->filled) : n;
        memcpy(stream->waiting + stream->filled, in, part * sizeof *in);
        memcpy(out, stream->ready + stream->filled, part * sizeof *out);
        stream->filled += (int)part;
        in += part, out += part, n -= part;
        if (stream->filled == HOP) {
            run_hop(stream, stream->waiting, stream->ready);
            stream->filled = 0;
        }
    }
}

int percepnet_latency(const percepnet *stream) { return stream->fixed ? LATENCY : LATENCY + HOP; }

void percepnet_set_fixed_blocks(percepnet *stream, int fixed) {
    stream->fixed = fixed;
    percepnet_reset(stream);
}

void percepnet_set_attenuation_limit(percepnet *stream, float limit_db) {
    stream->dry = limit_db < 0 ? 0 : powf(10, -limit_db / 20);
}

void percepnet_set_post_filter(percepnet *stream, int on) { stream->post_filter = on; }

void percepnet_flush(percepnet *stream, float *out) {
    float silence[HOP] = {0};
    for (int left = percepnet_latency(stream); left > 0; left -= HOP, out += HOP) {
        percepnet_process(stream, silence, out, HOP);
    }
    percepnet_reset(stream);
}

void percepnet_destroy(percepnet *stream) {
    if (stream != NULL) {
        free(stream->allocated);
        free(stream);
    }
}
