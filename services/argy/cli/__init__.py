"""The command line: a client of the platform. Its libraries come with ``argy[cli]``."""

import sys


def main() -> None:
    """Run ``argy``; what is not installed is a sentence, since the base is without commands."""
    try:
        from argy.cli.main import main as run

        run()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "argy":
            raise
        print(
            f"argy: this needs {error.name}, which is not installed: pip install 'argy[cli]' for "
            "the commands, 'argy[server]' for `argy serve`, 'argy[local]' for `argy up`",
            file=sys.stderr,
        )
        sys.exit(70)
