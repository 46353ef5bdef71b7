"""`python -m sdlesson` is the `sdlesson` command."""

from .cli import main

if __name__ == "__main__":
    main()
