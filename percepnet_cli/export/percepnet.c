/* What lies between the compiled signal path and a C program: memory for each stream, and blocks of any size. */

#include "percepnet.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef PERCEPNET_FAST
#include "cpu_x86.h"
#endif

enum { HOP = 480, LATENCY = 1440, ALIGNMENT = 64, CHANNELS = 2 };

/* Made from the model and the compiled path: see export/image.py. */
extern const unsigned char percepnet_constants[];
extern const unsigned char percepnet_memory[];
extern const uint64_t percepnet_memory_size; /* what lies behind percepnet_memory begins with zeros */
extern const uint64_t percepnet_memory_given;
extern const uint64_t percepnet_samples_place;
extern const uint64_t percepnet_out_place;
extern const float percepnet_post_filter_default;
extern const uint64_t percepnet_address_count;
extern const struct {
    uint32_t word, target, constant;
} percepnet_addresses[];

/* signal_path.process and pair.process_pair, once for each kind of CPU. A path is the address of a stream's memory. */
typedef int32_t process_function(void **result, void **error, int64_t path, int64_t hops, float post_filter,
                                 float dry);
typedef int32_t process_pair_function(void **result, void **error, int64_t left, int64_t right, int64_t hops,
                                      float post_filter, float dry);
typedef struct {
    process_function *process;
    process_pair_function *process_pair;
} functions;
extern process_function percepnet_process_base;
extern process_pair_function percepnet_process_pair_base;
static const functions base = {percepnet_process_base, percepnet_process_pair_base};
#ifdef PERCEPNET_FAST
extern process_function percepnet_process_fast;
extern process_pair_function percepnet_process_pair_fast;
static const functions fast = {percepnet_process_fast, percepnet_process_pair_fast};
extern process_function percepnet_process_wide;
extern process_pair_function percepnet_process_pair_wide;
static const functions wide = {percepnet_process_wide, percepnet_process_pair_wide};
#endif

struct percepnet {
    const functions *functions;
    unsigned char *memory;
    void *allocated;
    float dry;
    float post_filter;
    int fixed;
    /* Samples that wait for the rest of their hop, and those of the last hop that were not asked for yet. */
    int filled;
    float waiting[HOP];
    float ready[HOP];
};

/* Compiled code asks for this when an array that it owns is not needed any more; it owns none. */
void NRT_MemInfo_call_dtor(void *info) { (void)info; }

static const functions *fastest(void) {
#ifdef PERCEPNET_FAST
    if (has_x86_64_v4()) return &wide;
    if (has_x86_64_v3()) return &fast;
#endif
    return &base;
}

static float *array(const percepnet *stream, uint64_t place) { return (float *)(void *)(stream->memory + place); }

void percepnet_reset(percepnet *stream) {
    memcpy(stream->memory, percepnet_memory, percepnet_memory_given);
    memset(stream->memory + percepnet_memory_given, 0, percepnet_memory_size - percepnet_memory_given);
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
    stream->functions = fastest();
    stream->post_filter = percepnet_post_filter_default;
    percepnet_reset(stream);
    return stream;
}

static int64_t path(const percepnet *stream) { return (int64_t)(intptr_t)stream->memory; }

/* One hop of one or two channels through the path. */
static void run_hop(percepnet *const *streams, int channels, const float *const *in, float *const *out) {
    const percepnet *first = streams[0];
    void *result = NULL, *error = NULL;
    for (int c = 0; c < channels; c++) {
        memcpy(array(streams[c], percepnet_samples_place), in[c], HOP * sizeof **in);
    }
    if (channels == 1) {
        first->functions->process(&result, &error, path(first), 1, first->post_filter, first->dry);
    } else {
        first->functions->process_pair(&result, &error, path(first), path(streams[1]), 1, first->post_filter,
                                       first->dry);
    }
    for (int c = 0; c < channels; c++) {
        memcpy(out[c], array(streams[c], percepnet_out_place), HOP * sizeof **out);
    }
}

/* One or two channels, all with the same number of samples that wait. Any in may be any out. */
static void process(percepnet *const *streams, int channels, const float *const *given, float *const *wanted,
                    size_t n) {
    const float *in[CHANNELS];
    float *out[CHANNELS];
    for (int c = 0; c < channels; c++) {
        in[c] = given[c], out[c] = wanted[c];
        if (n % HOP != 0) streams[c]->fixed = 0;
    }

    while (n > 0) {
        size_t filled = (size_t)streams[0]->filled, part = HOP - filled < n ? HOP - filled : n;
        if (streams[0]->fixed) {
            run_hop(streams, channels, in, out);
        } else {
            /* A sample goes out for each that comes in: those of the hop before, in the same place */
            for (int c = 0; c < channels; c++) memcpy(streams[c]->waiting + filled, in[c], part * sizeof **in);
            for (int c = 0; c < channels; c++) memcpy(out[c], streams[c]->ready + filled, part * sizeof **out);
            if (filled + part == HOP) {
                const float *waiting[CHANNELS];
                float *ready[CHANNELS];
                for (int c = 0; c < channels; c++) waiting[c] = streams[c]->waiting, ready[c] = streams[c]->ready;
                run_hop(streams, channels, waiting, ready);
            }
        }
        for (int c = 0; c < channels; c++) {
            if (!streams[c]->fixed) streams[c]->filled = (int)((filled + part) % HOP);
            in[c] += part, out[c] += part;
        }
        n -= part;
    }
}

void percepnet_process(percepnet *stream, const float *in, float *out, size_t n) {
    process(&stream, 1, &in, &out, n);
}

void percepnet_process_pair(percepnet *const streams[2], const float *const in[2], float *const out[2], size_t n) {
    process(streams, 2, in, out, n);
}

int percepnet_latency(const percepnet *stream) { return stream->fixed ? LATENCY : LATENCY + HOP; }

void percepnet_set_fixed_blocks(percepnet *stream, int fixed) {
    stream->fixed = fixed;
    percepnet_reset(stream);
}

void percepnet_set_attenuation_limit(percepnet *stream, float limit_db) {
    stream->dry = limit_db < 0 ? 0 : (float)pow(10, -(double)limit_db / 20);
}

void percepnet_set_post_filter(percepnet *stream, float share) {
    stream->post_filter = share > 0 ? share < 1 ? share : 1 : 0;
}

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
