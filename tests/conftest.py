"""Settings that all tests share."""

import os

from hypothesis import HealthCheck, settings

# A kernel compiles at its first call, and the machines are shared: no timing is asserted.
settings.register_profile(
    "search", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
# The same examples each time: whether a commit is good says nothing about luck. New ones are what
# `make properties` is for.
settings.register_profile("tidemill", settings.get_profile("search"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tidemill"))
