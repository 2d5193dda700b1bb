"""Settings that all tests share."""

from hypothesis import HealthCheck, settings

# A kernel compiles at its first call, and the machines are shared: no timing is asserted.
settings.register_profile(
    "tidemill", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tidemill")
