"""`python -m gan_runner` is `gan-run`."""

if __name__ == "__main__":
    from gan_runner.commands.start import run

    run()
