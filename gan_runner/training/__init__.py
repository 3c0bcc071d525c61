"""The loop and its parts: a train step, schedules, players, meters, checkpoints, rollback.

It imports no Hydra and no command.
"""
