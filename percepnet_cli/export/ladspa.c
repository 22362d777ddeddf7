/* LADSPA plug-ins on top of percepnet.c: mono, and two channels that are linked. run() neither allocates nor waits. */

#include "ladspa_api.h"
#include "percepnet.h"

#include <stdlib.h>
#include <string.h>

/* The build gives the model's name, a number for it, and what its post-filter begins with. */
#ifndef PERCEPNET_MODEL
#error "PERCEPNET_MODEL, PERCEPNET_ID and PERCEPNET_POST_FILTER belong to this file's command line"
#endif

enum { RATE = 48000, NO_LIMIT_DB = 100, FADE = RATE / 50, DELAY = 1920, MAX_CHANNELS = 2 };

/* Controls first, then audio: in and out of each channel. */
enum { LIMIT, POST_FILTER, BYPASS, LATENCY, AUDIO, MAX_PORTS = AUDIO + 2 * MAX_CHANNELS };

static const int port_kinds[MAX_PORTS] = {
    LADSPA_CONTROL | LADSPA_INPUT, LADSPA_CONTROL | LADSPA_INPUT, LADSPA_CONTROL | LADSPA_INPUT,
    LADSPA_CONTROL | LADSPA_OUTPUT, LADSPA_AUDIO | LADSPA_INPUT,  LADSPA_AUDIO | LADSPA_OUTPUT,
    LADSPA_AUDIO | LADSPA_INPUT,    LADSPA_AUDIO | LADSPA_OUTPUT,
};

/* Hosts know the delay by the name of its port. */
#define CONTROLS "Attenuation limit (dB, 100 is none)", "Post-filter", "Bypass", "latency"
static const char *const mono_names[] = {CONTROLS, "Input", "Output"};
static const char *const stereo_names[] = {CONTROLS, "Input left", "Output left", "Input right", "Output right"};

/* Where the model asks for no post-filter, who wants it gets the whole one. */
#define ON (PERCEPNET_POST_FILTER > 0 ? PERCEPNET_POST_FILTER : 1.0f)

#define TOGGLE(value) {LADSPA_TOGGLED | ((value) ? LADSPA_DEFAULT_1 : LADSPA_DEFAULT_0), 0, 1}
static const ladspa_range ranges[MAX_PORTS] = {
    [LIMIT] = {LADSPA_BOUNDED_BELOW | LADSPA_BOUNDED_ABOVE | LADSPA_DEFAULT_MAXIMUM, 0, NO_LIMIT_DB},
    [POST_FILTER] = TOGGLE(PERCEPNET_POST_FILTER > 0),
    [BYPASS] = TOGGLE(0),
    [LATENCY] = {LADSPA_INTEGER, 0, 0},
};

typedef struct {
    int channels;
    float *ports[MAX_PORTS];
    percepnet *streams[MAX_CHANNELS];
    float limit_db;

    /* What went in last, for bypass: DELAY samples in a ring of twice as many. 1 of wet is all of the effect. */
    float delayed[MAX_CHANNELS][2 * DELAY];
    unsigned long place;
    float wet;
} plugin;

static void cleanup(void *instance) {
    plugin *self = instance;
    for (int c = 0; c < self->channels; c++) percepnet_destroy(self->streams[c]);
    free(self);
}

static void *instantiate(const ladspa_plugin *descriptor, unsigned long sample_rate) {
    plugin *self = sample_rate == RATE ? calloc(1, sizeof *self) : NULL;
    if (self == NULL) return NULL;
    self->channels = descriptor->port_count == MAX_PORTS ? 2 : 1;
    for (int c = 0; c < self->channels; c++) {
        self->streams[c] = percepnet_create();
        if (self->streams[c] == NULL) {
            cleanup(self);
            return NULL;
        }
    }
    return self;
}

static void connect_port(void *instance, unsigned long port, float *place) {
    plugin *self = instance;
    if (port < MAX_PORTS) self->ports[port] = place;
}

static void activate(void *instance) {
    plugin *self = instance;
    memset(self->delayed, 0, sizeof self->delayed);
    self->wet = -1;
    self->limit_db = -1;

    /* As short as can be, until a block comes that is not whole hops */
    for (int c = 0; c < self->channels; c++) {
        percepnet_set_fixed_blocks(self->streams[c], 1);
        percepnet_set_attenuation_limit(self->streams[c], -1);
    }
}

/* A control, or what it would be where a host has not connected it. */
static float control(const plugin *self, int port, float otherwise) {
    return self->ports[port] == NULL ? otherwise : *self->ports[port];
}

static void run_part(plugin *self, unsigned long start, unsigned long n, float wanted) {
    const float *in[MAX_CHANNELS];
    float *out[MAX_CHANNELS];
    unsigned long first = self->place;
    for (int c = 0; c < self->channels; c++) {
        in[c] = self->ports[AUDIO + 2 * c] + start;
        out[c] = self->ports[AUDIO + 2 * c + 1] + start;
    }

    /* Keep the input: what is in place is gone afterwards */
    for (int c = 0; c < self->channels; c++) {
        for (unsigned long i = 0; i < n; i++) self->delayed[c][(first + i) % (2 * DELAY)] = in[c][i];
    }
    self->place = (first + n) % (2 * DELAY);

    if (self->channels == 1) {
        percepnet_process(self->streams[0], in[0], out[0], n);
    } else {
        percepnet_process_pair(self->streams, in, out, n);
    }

    /* Bypass: the input, as late as the effect is, faded in and out */
    unsigned long from = first + 2 * DELAY - (unsigned long)percepnet_latency(self->streams[0]);
    float wet = self->wet;
    for (unsigned long i = 0; i < n && (wet < 1 || wanted < 1); i++) {
        wet += wanted < wet ? -1.0f / FADE : wanted > wet ? 1.0f / FADE : 0;
        wet = wet > 1 ? 1 : wet < 0 ? 0 : wet;
        for (int c = 0; c < self->channels; c++) {
            float dry = self->delayed[c][(from + i) % (2 * DELAY)];
            out[c][i] = wet == 0 ? dry : wet == 1 ? out[c][i] : dry + wet * (out[c][i] - dry);
        }
    }
    self->wet = wet;
}

static void run(void *instance, unsigned long samples) {
    plugin *self = instance;
    float limit_db = control(self, LIMIT, NO_LIMIT_DB), wanted = control(self, BYPASS, 0) > 0.5f ? 0 : 1;
    if (self->wet < 0) self->wet = wanted;

    /* The first stream's settings count. A power takes its time, so only when the limit has changed */
    percepnet_set_post_filter(self->streams[0], control(self, POST_FILTER, PERCEPNET_POST_FILTER > 0) > 0.5f ? ON : 0);
    if (limit_db != self->limit_db) {
        self->limit_db = limit_db;
        percepnet_set_attenuation_limit(self->streams[0], limit_db >= 0 && limit_db < NO_LIMIT_DB ? limit_db : -1);
    }

    /* In parts of DELAY samples. The odd one comes first: from the first sample on, the stream knows the kind of block */
    unsigned long part = samples % DELAY;
    if (part > 0) run_part(self, 0, part, wanted);
    for (unsigned long start = part; start < samples; start += DELAY) run_part(self, start, DELAY, wanted);
    if (self->ports[LATENCY] != NULL) *self->ports[LATENCY] = (float)percepnet_latency(self->streams[0]);
}

#define PLUGIN(number, its_label, kind, its_ports, names)                                                       \
    {                                                                                                           \
        .unique_id = PERCEPNET_ID + number, .label = its_label, .properties = LADSPA_HARD_RT_CAPABLE,           \
        .name = "PercepNet speech denoiser, " kind " (" PERCEPNET_MODEL ")", .maker = "percepnet-cli",          \
        .copyright = PERCEPNET_LICENSE, .port_count = its_ports, .ports = port_kinds, .port_names = names,      \
        .ranges = ranges, .instantiate = instantiate, .connect_port = connect_port, .activate = activate,       \
        .run = run, .cleanup = cleanup,                                                                         \
    }
static const ladspa_plugin plugins[] = {
    PLUGIN(0, "percepnet_mono", "mono", AUDIO + 2, mono_names),
    PLUGIN(1, "percepnet_stereo", "stereo", AUDIO + 4, stereo_names),
};

__attribute__((visibility("default"))) const ladspa_plugin *ladspa_descriptor(unsigned long index) {
    return index < sizeof plugins / sizeof *plugins ? &plugins[index] : NULL;
}
