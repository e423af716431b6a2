"""`python -m paincore`: the command line, where no script is on the path."""

from paincore.cli import main

main()
