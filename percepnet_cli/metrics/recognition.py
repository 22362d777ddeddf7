"""Does a speech recognizer understand it: the only door to pocketsphinx (extra ``asr``).

CMU PocketSphinx comes with a model of US English and works without a network. It is a small recognizer of an older
kind: its word error rates are far above those of today's large ones, and tell differences rather than levels.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

RATE = 16_000
"""Hz of the recognizer's model."""

NAME = "pocketsphinx, US English"

_loaded: list[Any] = []


def words_of(text: str) -> list[str]:
    """Return the words of a text: lower case, without punctuation, apostrophes inside words kept."""
    return re.findall(r"\w+(?:'\w+)*", text.lower().replace("\u2019", "'").replace("_", " "))


def recognize(samples16: np.ndarray) -> list[str]:
    """Return the words heard in a recording, float [n] at 16 kHz, +-1. Loads the model when first called."""
    from pocketsphinx import Decoder

    if not samples16.any():  # whose features are the decoder's floor, in which it has heard dogs
        return []
    if not _loaded:
        _loaded.append(Decoder(samprate=RATE, cmn="batch", loglevel="FATAL"))
    decoder = _loaded[0]
    decoder.reinit_feat()  # with cmn="batch": nothing comes from what was heard before
    decoder.start_utt()
    decoder.process_raw((np.clip(samples16, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    heard = decoder.hyp()
    return [] if heard is None else words_of(heard.hypstr)


def word_errors(reference: list[str], heard: list[str]) -> int:
    """Return how many words must be replaced, inserted or removed to make one text of the other (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]
