"""`sdlesson grade`: a folder of submissions, each run in a sandbox of its own and judged outside of it.

`command` holds the arguments, `room` the folder of submissions and how far it is graded, `judge` grades one submission,
`sandbox` starts what `inside` runs there; `peer` and `values` are all that passes between those two; `report` writes.
"""
