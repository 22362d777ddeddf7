"""Formulas as pictures in the page: matplotlib's mathtext drawn as SVG, in the color and size of the text around.

So they look the same in every browser, need neither scripts nor fonts, and nothing is fetched for them.
"""

from __future__ import annotations

import html

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath, text_to_path

FONT = FontProperties(math_fontfamily="stix", size=10)
EM = 10.0 / 1.1
"""Units of a drawing per em of the page: a little larger than the text, whose letters are wide."""
LETTERS = {Path.MOVETO: ("M", 1), Path.LINETO: ("L", 1), Path.CURVE3: ("Q", 2), Path.CURVE4: ("C", 3)}


def outline(path: Path) -> str:
    """Return a path as SVG writes it."""
    parts, place = [], 0
    while place < len(path.codes):
        code = path.codes[place]
        if code == Path.CLOSEPOLY:
            parts.append("Z")
            place += 1
            continue
        letter, points = LETTERS[code]
        numbers = path.vertices[place : place + points].ravel()
        parts.append(letter + " ".join(f"{number:.2f}".rstrip("0").rstrip(".") for number in numbers))
        place += points
    return "".join(parts)


def draw(tex: str, display: bool) -> str:
    """Return a formula as an SVG element. Raises ValueError if mathtext does not understand it."""
    text = f"${tex.strip()}$"
    width, height, depth = text_to_path.get_text_width_height_descent(text, FONT, ismath=True)
    shape = outline(TextPath((0, 0), text, prop=FONT))
    place = "display: block; margin: 1em auto" if display else f"vertical-align: {-depth / EM:.3f}em"
    label = html.escape(" ".join(tex.split()), quote=True)
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 {depth - height:.2f} {width:.2f} {height:.2f}" '
        f'style="width: {width / EM:.3f}em; height: {height / EM:.3f}em; max-width: 100%; {place}">'
        f'<path transform="scale(1 -1)" fill="currentColor" d="{shape}"/></svg>'
    )
