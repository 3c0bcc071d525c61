"""Runs: start, stop, resume, evaluate and open them.

Commands and Python functions pass a config in; this package uses neither Hydra's current job nor a terminal.
"""
