"""The settings of Hypothesis that the tests of rules have."""

from hypothesis import settings

import tests.domain.conftest  # noqa: F401  # reason: it registers them

settings.load_profile("domain")
