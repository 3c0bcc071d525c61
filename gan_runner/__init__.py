"""A Hydra-configured experiment runner for generative adversarial networks."""

__version__ = "0.1.0"

CONFIG_MODULE = "gan_runner.conf"
"""Where the package keeps its configuration groups."""
