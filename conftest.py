"""Settings for every test, the notebooks' cells included: no network, and no comparing of progress bars."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that wants the network fails at once, on every machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # on a busy machine, threads that spin while they wait cost minutes
os.environ.pop("SDLESSON_MODEL", None)  # the stored outputs are those of the bundled model


def pytest_collectstart(collector):
    """Leave stderr out of nbval's comparison: progress bars write there, with timings."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
