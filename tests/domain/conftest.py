"""Profiles for Hypothesis: nothing is kept between runs, and no example is too slow on a busy machine."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "domain",
    database=None,  # a failing example belongs in a test of its own, not in a directory
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("domain")
