"""See remora.transport.conformance.test_records."""

from remora.transport.conformance.test_records import *  # noqa: F403
