"""How many examples a property is tried with: few in a usual run, as many as asked for in a long one."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "postsink",
    max_examples=int(os.environ.get("POSTSINK_EXAMPLES", "120")),
    deadline=None,  # two tests at a time on a slow machine are no fault
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("postsink")
