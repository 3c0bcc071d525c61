"""Entry points of the commands: signals are handled from here on, while modules are still being imported.

Only commands may import this.
"""

from gan_runner.machine.signals import end_at_once

end_at_once()

from gan_runner.commands.main import (  # noqa: E402
    augment,
    check,
    compare,
    detect,
    evaluate,
    export,
    run,
    sample,
    translate,
)

__all__ = ["augment", "check", "compare", "detect", "evaluate", "export", "run", "sample", "translate"]
