"""Any order: a learner runs a lesson's cells in any order, some twice, some never. `make order`.

Each play draws an order with repetitions, and goes on after an error, as a learner does. A cell may end right (it
prints what it prints when all cells are run from the top, and its pictures are those that `paint` gives), with a
sentence, or with Python's NameError for what was not run. Anything else is wrong.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
from collections import Counter

import pytest
from test_play import CHECKS, Page, Wrong, end_of, one_page

from sdlesson import LESSONS, PAGES

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(7200),
    pytest.mark.skipif("SDLESSON_ORDER" not in os.environ, reason="`make order` runs it: it takes long"),
]

PLAYS = {topic: 50 if topic == "onepage" else 5 for topic in LESSONS | PAGES}
_NOT_YET = re.compile(r"(\w+\.\d+: not yet\.).*", re.DOTALL)  # of a mistake that comes again `check` says more
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def printed(page: Page, number: int) -> str:
    """What a cell prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        page.run(number)
    return said.getvalue()


def alike(one: str, other: str) -> bool:
    """The same words, and the same numbers but for their last digits and for what is measured in time."""
    one, other = (_NOT_YET.sub(r"\1", each) for each in (one, other))
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    timed = re.search(r"\d\s?(?:s|ms|seconds)\b", one)
    return bool(timed) or all(abs(float(a) - float(b)) <= 0.02 * abs(float(a)) + 0.011 for a, b in pairs)


def order_of(cells: int, seed: int) -> list[int]:
    """Each cell twice, shuffled; in every other play the first cell, with the imports, is run first."""
    order = [*range(cells), *range(cells)]
    random.Random(seed).shuffle(order)
    return [0, *order] if seed % 2 else order


@pytest.fixture(scope="module")
def ends():
    """How all cells ended, by lesson; said at the end."""
    counts: dict[str, Counter] = {}
    yield counts
    print(f"\n{sum(map(Counter.total, counts.values()))} cells:", {topic: dict(each) for topic, each in counts.items()})


@pytest.mark.parametrize("topic", LESSONS | PAGES)
def test_the_cells_of_a_lesson_in_any_order(topic, ends, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    top = Page(topic)
    wanted = [printed(top, number) for number in range(len(top.sources))]
    counts, bad = ends.setdefault(topic, Counter()), []
    for seed in range(PLAYS[topic]):
        page = Page(topic)
        for number in order_of(len(page.sources), seed):

            def play(page, number=number):
                page.shown.clear()
                said = printed(page, number)
                if not alike(wanted[number], said):
                    raise Wrong(f"prints {said!r} instead of {wanted[number]!r}")
                if topic == "onepage":
                    page.shown[:] = [each for each in page.shown if each[1][:1] != ["right"]]
                    one_page(page)

            end, said = end_of(page, play, lambda page: None)
            counts[end] += 1
            if end in ("wrong", "traceback"):
                bad.append(f"play {seed}, cell {number}: {end}: {said[:300]}")
        end, said = end_of(page, lambda page: None, CHECKS.get(topic, lambda page: None))
        if end == "wrong":
            bad.append(f"play {seed}, at the end: {said[:300]}")
    assert not bad, f"{len(bad)} of {sum(counts.values())}\n" + "\n".join(bad[:30])
