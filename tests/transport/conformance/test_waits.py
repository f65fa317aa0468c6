"""See remora.transport.conformance.test_waits."""

from remora.transport.conformance.test_waits import *  # noqa: F403
