"""Pictures in files: the only door to matplotlib (extra ``plots``)."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from percepnet_cli.errors import ExtraError, PlotError
from percepnet_cli.extras import missing, sentence
from percepnet_cli.storage.target import check_file, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.image import AxesImage as AxesImage

SUFFIXES = (".png", ".svg", ".pdf")
"""Formats of pictures that are offered."""


def lacking() -> str | None:
    """Return a sentence on what to install if pictures cannot be drawn."""
    modules = missing("matplotlib")
    return sentence("a picture", modules) if modules else None


def require() -> None:
    """Raise ExtraError if pictures cannot be drawn."""
    if text := lacking():
        raise ExtraError(text)


def new_figure(width: float, height: float, dpi: int = 110) -> Figure:
    """Return an empty figure of some inches, whose parts find their places themselves. Raises ExtraError.

    No window system is asked for, and nothing of matplotlib's global state is touched.
    """
    require()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=dpi)


def check(path: Path, force: bool) -> None:
    """Raise PlotError if a picture cannot be written under a name, ExtraError if none can be drawn."""
    require()
    if path.suffix.lower() not in SUFFIXES:
        raise PlotError(f"{path}: a picture is a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    check_file(path, force, error=PlotError)


def save(figure: Figure, path: Path, force: bool = True) -> None:
    """Write a figure in the format of the suffix, whole or not at all; the same figure gives the same bytes.

    force: replace a file that exists. Raises PlotError.
    """
    import matplotlib

    picture = io.BytesIO()
    kind = path.suffix[1:].lower() or "png"
    # an SVG has random names and the date in it, a PDF the date, unless told otherwise
    with matplotlib.rc_context({"svg.hashsalt": "percepnet", "svg.fonttype": "none"}), warnings.catch_warnings():
        # a file's name in a script that the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        try:
            figure.savefig(picture, format=kind, metadata={} if kind == "png" else _undated(kind))
        except ValueError as error:
            raise PlotError(f"{path}: {error}") from None
    write_file(path, lambda part: part.write_bytes(picture.getvalue()), force, PlotError)


def _undated(kind: str) -> dict[str, None]:
    return {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
