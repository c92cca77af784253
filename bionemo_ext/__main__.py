"""``python -m bionemo_ext`` is the ``bionemo-ext`` command."""

from bionemo_ext.cli import main

if __name__ == "__main__":
    main()
