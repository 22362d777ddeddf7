/* A LADSPA plug-in that copies: what a host costs without an effect. For export_speed.py. */

#include "ladspa_api.h"

#include <stdlib.h>
#include <string.h>

static const int kinds[] = {LADSPA_AUDIO | LADSPA_INPUT, LADSPA_AUDIO | LADSPA_OUTPUT};
static const char *const names[] = {"Input", "Output"};
static const ladspa_range ranges[2];

static void *instantiate(const ladspa_plugin *plugin, unsigned long sample_rate) {
    (void)sample_rate;
    return calloc(plugin->port_count, sizeof(float *));
}

static void connect_port(void *instance, unsigned long port, float *place) { ((float **)instance)[port] = place; }

static void activate(void *instance) { (void)instance; }

static void run(void *instance, unsigned long samples) {
    float **ports = instance;
    memmove(ports[1], ports[0], samples * sizeof(float));
}

static const ladspa_plugin plugin = {
    .unique_id = 1, .label = "copy", .name = "copy", .maker = "", .copyright = "", .port_count = 2, .ports = kinds,
    .port_names = names, .ranges = ranges, .instantiate = instantiate, .connect_port = connect_port,
    .activate = activate, .run = run, .cleanup = free,
};

const ladspa_plugin *ladspa_descriptor(unsigned long index) { return index == 0 ? &plugin : NULL; }
