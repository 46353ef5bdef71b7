"""`sdlesson grade`: a folder of submissions, each run in a sandbox of its own and judged outside of it.

`command` holds the arguments; `submissions` tells whose the files are, `room` how far they are graded; `judge` grades
one submission, `sandbox` starts what `inside` runs there; `peer` and `values` are all that passes between those two;
`report` writes.
"""
