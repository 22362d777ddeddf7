"""Packages that only some commands need: are they there, and what to type if not."""

from __future__ import annotations

from importlib.util import find_spec


def missing(*modules: str) -> list[str]:
    """Return those of some modules that are not installed; nothing is imported."""
    return [module for module in modules if find_spec(module) is None]


def sentence(what: str, modules: list[str], extra: str) -> str:
    """Return what to install: ``what`` needs ``modules``, which an optional ``extra`` of this package brings."""
    verb = "need" if " and " in what else "needs"
    return f"{what} {verb} {listed(modules)}: pip install 'percepnet-cli[{extra}]'"


def listed(names: list[str]) -> str:
    """Return names as a sentence has them: a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
