"""The way into the lessons: what a learner gets (`tree`), working copies (`copies`), JupyterLab on them (`start`)."""
