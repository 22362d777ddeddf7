"""Packages that only some commands need: are they there, and what to type if not."""

from __future__ import annotations

from importlib.util import find_spec


class ExtraError(Exception):
    """An optional package is missing; the text is one sentence for the user."""


def missing(*modules: str) -> list[str]:
    """Return those of some modules that are not installed; nothing is imported."""
    return [module for module in modules if find_spec(module) is None]


def sentence(what: str, modules: list[str], extra: str) -> str:
    """Return what to install: ``what`` needs ``modules``, which an optional ``extra`` of this package brings."""
    return f"{what} {'needs' if ' and ' not in what else 'need'} {' and '.join(modules)}: " + (
        f"pip install 'percepnet-cli[{extra}]'"
    )
