"""``python -m bionemo_ext`` is the ``bionemo-ext`` command."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C is one sentence too while it is still being imported."""
    try:
        from bionemo_ext import cli

        cli.main()
    except KeyboardInterrupt:
        print("bionemo-ext: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
