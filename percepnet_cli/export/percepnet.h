/* percepnet: removes noise from speech. 48 kHz, mono, float samples with full scale +-1.

   percepnet *stream = percepnet_create();
   for each block: percepnet_process(stream, in, out, n);    any n, in place if you like
   percepnet_destroy(stream);

   What comes out is percepnet_latency() samples behind what goes in. Streams share nothing that changes: each may run
   in a thread of its own. After percepnet_create nothing is allocated. */

#ifndef PERCEPNET_H
#define PERCEPNET_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(PERCEPNET_API)
#elif defined(_WIN32)
#define PERCEPNET_API __declspec(dllexport)
#else
#define PERCEPNET_API __attribute__((visibility("default")))
#endif

typedef struct percepnet percepnet;

/* Begin a stream; NULL if there is no memory for it. */
PERCEPNET_API percepnet *percepnet_create(void);

/* Denoise n samples: as many come out, percepnet_latency() samples behind. in and out may be the same. */
PERCEPNET_API void percepnet_process(percepnet *stream, const float *in, float *out, size_t n);

/* Two channels of one recording, which get one gain for both, so that voices stay where they are. n as above; any of
   in may be any of out. The settings of the first stream count. Process such streams in no other way. */
PERCEPNET_API void percepnet_process_pair(percepnet *const streams[2], const float *const in[2], float *const out[2],
                                          size_t n);

/* Samples by which the output is behind the input: 1440, or 1920 with blocks of any size, the default. */
PERCEPNET_API int percepnet_latency(const percepnet *stream);

/* 1: every call brings a multiple of 480 samples, and the latency is 1440; 0: calls bring any number of samples, and it
   is 1920. Resets the stream. A call that brings anything else after all makes it 0 for the rest of the stream: 480
   samples of silence come out in that place. */
PERCEPNET_API void percepnet_set_fixed_blocks(percepnet *stream, int fixed);

/* Take noise down by at most so many decibels, 0 or more; a negative number is no limit, the default. */
PERCEPNET_API void percepnet_set_attenuation_limit(percepnet *stream, float limit_db);

/* 1: push down what the network left in noisy bands; 0: do not; between: a milder filter. The default is the model's. */
PERCEPNET_API void percepnet_set_post_filter(percepnet *stream, float share);

/* Write the end of a stream, percepnet_latency() samples, and begin a new one. */
PERCEPNET_API void percepnet_flush(percepnet *stream, float *out);

/* Forget the stream: what follows is a new one. */
PERCEPNET_API void percepnet_reset(percepnet *stream);

PERCEPNET_API void percepnet_destroy(percepnet *stream);

#ifdef __cplusplus
}
#endif

#endif
