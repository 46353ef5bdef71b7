"""Settings for every test, the notebooks' cells included: no network, and no comparing of progress bars."""

import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that wants the network fails at once, on every machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # on a busy machine, threads that spin while they wait cost minutes
if "PYTEST_XDIST_WORKER" in os.environ:  # several workers share the cores: one thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("SDLESSON_MODEL", None)  # the stored outputs are those of the bundled model


def pytest_collectstart(collector):
    """Leave out of nbval's comparison what differs: stderr, where progress bars write, and the pages of explorers."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "text/html")


_LONG = ("test_hub.py", "test_grading.py")  # begun first (--no-loadscope-reorder): no worker waits for them at the end


def pytest_collection_modifyitems(items):
    """The clinic's solutions take half a minute, and tests/test_clinic.py runs them: as a page they are `full`."""
    items.sort(key=lambda item: item.path.name not in _LONG)
    for item in items:
        if item.path.name == "clinic_solutions.ipynb":
            item.add_marker("full")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of a file together, as a notebook's cells must be; only whole lessons may go to any worker."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return nodeid if file.endswith("test_notebooks.py") else file

    return ByFile(config, log)
