"""See remora.transport.conformance.test_ends."""

from remora.transport.conformance.test_ends import *  # noqa: F403
