"""A network in both directions on a stream: block by block, each with a look at the hops behind it.

::

    hops      t            t + 100   t + 150
              |--- block ---|- future -|
    with time   state at t ----> state at t + 100 kept ----> end, forgotten
    against     <------------------------------------------- zeros at the end
    given out   ~~~~~~~~~~~~~

Layer by layer a window is computed like that: with time from the state that the last block left, against time from
zeros at the window's end. The first hop of a block must wait for the last of its future, and all others wait as
long. The grid of blocks begins with the stream, so no cut of the input changes a bit. Where the stream ends, what is
left is one block without future: silence that nobody recorded would tell the layers against time that no speech was
coming.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import BIDIRECTIONAL_BLOCK_HOPS, BIDIRECTIONAL_FUTURE_HOPS, NUM_BANDS
from percepnet_cli.network.graph import BACKWARD
from percepnet_cli.network.layers import BidirectionalGru, Dense, run_dense
from percepnet_cli.network.modelfile import Model
from percepnet_cli.network.percepnet import TRUNK, Encoder, encode, laid_out


class BlockState:
    """One stream through a bidirectional model: the layers with their memories.

    Attributes
    ----------
    latency_hops : int
        Hops by which gains and strengths are behind the features.
    """

    def __init__(
        self,
        model: Model,
        max_hops: int,
        block: int = BIDIRECTIONAL_BLOCK_HOPS,
        future: int = BIDIRECTIONAL_FUTURE_HOPS,
    ) -> None:
        weights = laid_out(model)
        sizes, window = weights.sizes, block + future
        self._max_hops, self._block, self._future, self._window = max_hops, block, future, window
        self.latency_hops = window - 1

        def layer(name: str) -> BidirectionalGru:
            return BidirectionalGru(weights.gru[name], weights.gru[name + BACKWARD], block, window)

        self._encoder = Encoder(weights, max_hops)
        self._grus = [layer(name) for name in TRUNK]
        self._strength_gru = layer("strength_gru")
        self._gain = Dense(weights.linear["gain"], window)
        self._strength = Dense(weights.linear["strength"], window)

        # Activations of a whole window after each layer, and side by side for the layers that read several
        def buffer(width: int) -> np.ndarray:
            return np.zeros((window, width), np.int8)

        self._after_conv2 = buffer(sizes.conv2)
        self._after_grus = [buffer(2 * sizes.gru) for _ in range(3)] + [buffer(2 * sizes.gain_gru)]
        self._after_strength_gru = buffer(2 * sizes.strength_gru)
        self._for_gain = buffer(sizes.conv2 + 6 * sizes.gru + 2 * sizes.gain_gru)
        self._for_strength = buffer(sizes.conv2 + 2 * sizes.gru)

        self._filled = 0
        """Hops of the window that have come in."""
        self._out_gain, self._out_strength = np.zeros((2, window, NUM_BANDS), np.float32)
        """Row i leaves with the hop that makes it i hops: the last block, or zeros from before the stream."""

    def run(self, features: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> None:
        """Predict gains and strengths of the hops that lie ``latency_hops`` back; zeros before the first.

        features: float32 [hops, 70], as ``dsp.features`` packs them, any number of hops.
        Written: gain, strength: float32 [hops, 34], 0..1.
        """
        start = 0
        while start < len(features):
            # Hops that come in, at most to the end of the window
            filled = self._filled
            stop = min(start + self._max_hops, start + self._window - filled, len(features))
            self._filled += stop - start
            encode(self._encoder, features[start:stop], self._after_conv2[filled : self._filled])

            # Hops that leave: with the one that completes a window, the first of its block
            complete = self._filled == self._window
            for into, out in ((gain, self._out_gain), (strength, self._out_strength)):
                into[start : stop - complete] = out[filled + 1 : self._filled + 1 - complete]

            # A complete window gives its block; then its future is moved to the front
            if complete:
                block = slice(self._future, None)
                self._run_window(self._window, self._out_gain[block], self._out_strength[block])
                self._after_conv2[: self._future] = self._after_conv2[self._block :].copy()
                self._filled = self._future
                gain[stop - 1], strength[stop - 1] = self._out_gain[self._filled], self._out_strength[self._filled]

            start = stop

    def end(self, gain: np.ndarray, strength: np.ndarray) -> None:
        """End the stream: predict gains and strengths of its last hops, after which there is nothing more to run.

        Written: gain, strength: float32 [latency_hops, 34], 0..1; zeros before the first hop.
        """
        # First the hops that were computed but have not left, then a last block that ends with the stream
        waiting = self.latency_hops - self._filled
        gain[:waiting], strength[:waiting] = self._out_gain[self._filled + 1 :], self._out_strength[self._filled + 1 :]
        self._run_window(self._filled, gain[waiting:], strength[waiting:])

    def _run_window(self, hops: int, gain: np.ndarray, strength: np.ndarray) -> None:
        """Compute the recurrent layers and the heads.

        hops: how many there are in the window. Written: gain, strength: float32 [block, 34] of the first of them.
        """
        block = len(gain)
        conv2, *grus = (values[:hops] for values in (self._after_conv2, *self._after_grus))
        for_gain, for_strength = self._for_gain[:block], self._for_strength[:hops]
        strength_gru = self._after_strength_gru[:block]

        # Layers that others read in both directions are computed for all hops, the last ones for the block
        grus[-1] = grus[-1][:block]
        inputs = conv2
        for gru, out in zip(self._grus, grus, strict=True):
            gru.run(inputs, out)
            inputs = out

        # Gains read all layers from conv2 on, strengths their own recurrent layer: as in ``percepnet.State.run``
        np.concatenate([part[:block] for part in (conv2, *grus)], axis=1, out=for_gain)
        run_dense(self._gain, for_gain, gain)

        np.concatenate((conv2, grus[2]), axis=1, out=for_strength)
        self._strength_gru.run(for_strength, strength_gru)
        run_dense(self._strength, strength_gru, strength)
