"""Where the commands start: a signal is answered from here on, while what they need is still being loaded.

Nothing but a command may import this.
"""

from gan_runner.machine.signals import end_at_once

end_at_once()

from gan_runner.commands.main import check, compare, evaluate, export, run, sample  # noqa: E402

__all__ = ["check", "compare", "evaluate", "export", "run", "sample"]
