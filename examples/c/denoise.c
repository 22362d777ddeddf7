/* Bare float samples (48 kHz, mono) from standard input to standard output, without the noise:

   percepnet export c percepnet-c
   cc -I percepnet-c denoise.c percepnet-c/libpercepnet.a -lm -o denoise
   ffmpeg -v error -i noisy.wav -f f32le -ar 48000 -ac 1 - | ./denoise > clean.f32

   The first argument is how many samples are denoised at once (480), the second the attenuation limit in dB. */

#include "percepnet.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    long block = argc > 1 ? atol(argv[1]) : 480;
    percepnet *stream = percepnet_create();
    float *samples = malloc((size_t)(block > 0 ? block : 1) * sizeof *samples), rest[2 * 1440];
    if (block < 1 || stream == NULL || samples == NULL) {
        fprintf(stderr, "denoise: no memory, or a block of less than one sample\n");
        return 1;
    }
    if (argc > 2) percepnet_set_attenuation_limit(stream, (float)atof(argv[2]));

    /* What comes out first is silence that nobody has said */
    int skip = percepnet_latency(stream);
    size_t n;
    while ((n = fread(samples, sizeof *samples, (size_t)block, stdin)) > 0) {
        percepnet_process(stream, samples, samples, n);
        size_t skipped = (size_t)skip < n ? (size_t)skip : n;
        fwrite(samples + skipped, sizeof *samples, n - skipped, stdout);
        skip -= (int)skipped;
    }
    percepnet_flush(stream, rest);
    fwrite(rest + skip, sizeof *rest, (size_t)(percepnet_latency(stream) - skip), stdout);

    percepnet_destroy(stream);
    free(samples);
    return 0;
}
