"""Applies the Hypothesis settings of the tests of rules."""

from hypothesis import settings

import tests.domain.conftest  # noqa: F401  # reason: it registers them

settings.load_profile("domain")
