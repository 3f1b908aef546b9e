"""`python -m pgsync`: the command, where its script is not on the PATH."""

from pgsync.cli import main

main()
