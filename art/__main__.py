"""`python -m art`, and `accelerate launch -m art`."""

from art.cli import main

main()
