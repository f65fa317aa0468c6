"""See remora.transport.conformance.test_idle."""

from remora.transport.conformance.test_idle import *  # noqa: F403
