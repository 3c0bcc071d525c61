"""A Hydra-configured experiment runner for generative adversarial networks."""

CONFIG_MODULE = "gan_runner.conf"
"""Where the package keeps its configuration groups."""
