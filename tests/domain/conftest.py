"""Settings of Hypothesis for tests of rules: nothing is kept between runs, and slow examples are allowed."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "halfminute-hypothesis")  # keep its cache out of the tree
settings.register_profile(
    "domain",
    database=None,  # a failing example belongs in a test of its own
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("domain")
