"""What a user's mistake, and a user's Ctrl-C, end in."""


class InputError(ValueError):
    """Input that is wrong: one sentence with what was given, where, and what is allowed.

    The command line prints the sentence and exits with code 2, without a traceback.
    """


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C in a run that can be resumed from its run directory, `run_dir`."""

    def __init__(self, run_dir: str) -> None:
        super().__init__(run_dir)
        self.run_dir = run_dir
