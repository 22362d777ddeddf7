/* The 8-bit product, and what all kinds of CPU share of it: weights times a vector of activations, in 32 bits.

   Weights come as network/dot_extern.py packs them: a panel is 48 rows, filled up with zeros, and keeps four columns of
   all of its rows together. So weights are read from the first to the last, four activations in all lanes of a register
   serve many rows, and a sum stays in its lane to the end. All sums are exact: each form gives the same. */

#ifndef PERCEPNET_PRODUCT_H
#define PERCEPNET_PRODUCT_H

#include <stdint.h>
#include <string.h>

enum { PANEL = 48, GROUP = 4, GROUP_BYTES = PANEL * GROUP };

/* Columns have to be whole groups here. Sums are written, 48 for each panel. */
typedef void product(const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector, int32_t *sums);

/* The activations of one group of columns, as one number. */
static inline int32_t four(const int8_t *vector) {
    int32_t value;
    memcpy(&value, vector, sizeof value);
    return value;
}

/* The product by one of the forms, and the columns that fill no group. */
static inline void multiply(product *form, const int8_t *weights, int64_t panels, int64_t columns,
                            const int8_t *vector, int32_t *sums) {
    int64_t rest = columns % GROUP, whole = columns - rest, panel_bytes = PANEL * (whole + (rest > 0 ? GROUP : 0));
    if (rest == 0) {
        form(weights, panels, columns, vector, sums);
        return;
    }

    for (int64_t panel = 0; panel < panels; panel++, weights += panel_bytes, sums += PANEL) {
        const int8_t *last = weights + PANEL * whole;
        form(weights, 1, whole, vector, sums);
        for (int row = 0; row < PANEL; row++) {
            for (int64_t i = 0; i < rest; i++) sums[row] += last[GROUP * row + i] * vector[whole + i];
        }
    }
}

#endif
