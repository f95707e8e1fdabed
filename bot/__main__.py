"""`python -m bot` is `muster`."""

from bot.cli import main

main()
