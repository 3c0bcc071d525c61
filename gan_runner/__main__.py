"""`python -m gan_runner` is `gan-run`."""

from gan_runner.commands.main import run

if __name__ == "__main__":
    run()
