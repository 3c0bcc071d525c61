"""The configuration groups, importable as gan_runner.conf."""
