"""Packages that only some commands need: are they there, and what to type if not."""

from __future__ import annotations

from importlib.util import find_spec


def missing(*modules: str) -> list[str]:
    """Return those of some modules that are not installed; nothing is imported."""
    return [module for module in modules if find_spec(module) is None]


def sentence(what: str, modules: list[str]) -> str:
    """Return what ``what`` needs and the command that installs it.

    The command names the packages themselves: it works in a checkout, beside a wheel and on a worker, whereas an extra
    has to be asked for where this package came from. Each module has the name of its package.
    """
    verb = "need" if " and " in what else "needs"
    return f"{what} {verb} {listed(modules)}: pip install {' '.join(modules)}"


def listed(names: list[str]) -> str:
    """Return names as a sentence has them: a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
