"""The explorers of the lessons, each one line in a notebook, over recorded Steps."""
