"""Which packages are built: all below percepnet_cli, and the models, which lie in a folder of their own."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["percepnet_cli", "percepnet_cli.*"]), "percepnet_cli.models"])
