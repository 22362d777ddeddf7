/* What a LADSPA plug-in and its host agree on: names, numbers and the order of fields, as ladspa.h of LADSPA 1.1
   (ladspa.org) has them, for binary compatibility. Written for percepnet; sentences and layout are not from there. */

#ifndef PERCEPNET_LADSPA_API_H
#define PERCEPNET_LADSPA_API_H

/* What a port is: one direction, one kind. */
enum { LADSPA_INPUT = 1, LADSPA_OUTPUT = 2, LADSPA_CONTROL = 4, LADSPA_AUDIO = 8 };

/* What a control's values are: limits that count, on or off, and which value a host begins with. */
enum {
    LADSPA_BOUNDED_BELOW = 0x1,
    LADSPA_BOUNDED_ABOVE = 0x2,
    LADSPA_TOGGLED = 0x4,
    LADSPA_INTEGER = 0x20,
    LADSPA_DEFAULT_MAXIMUM = 0x140,
    LADSPA_DEFAULT_0 = 0x200,
    LADSPA_DEFAULT_1 = 0x240
};

/* Of the whole plug-in: run() takes bounded time and asks nothing of the system. */
enum { LADSPA_HARD_RT_CAPABLE = 4 };

typedef struct {
    int hints;
    float lower, upper;
} ladspa_range;

typedef struct ladspa_plugin {
    unsigned long unique_id;
    const char *label;
    int properties;
    const char *name, *maker, *copyright;
    unsigned long port_count;
    const int *ports;
    const char *const *port_names;
    const ladspa_range *ranges;
    void *data;
    void *(*instantiate)(const struct ladspa_plugin *plugin, unsigned long sample_rate);
    void (*connect_port)(void *instance, unsigned long port, float *place);
    void (*activate)(void *instance);
    void (*run)(void *instance, unsigned long samples);
    void (*run_adding)(void *instance, unsigned long samples);
    void (*set_run_adding_gain)(void *instance, float gain);
    void (*deactivate)(void *instance);
    void (*cleanup)(void *instance);
} ladspa_plugin;

/* The only name that a host looks for: plug-in number index, NULL behind the last one. */
const ladspa_plugin *ladspa_descriptor(unsigned long index);

#endif
