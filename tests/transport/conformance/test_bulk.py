"""See remora.transport.conformance.test_bulk."""

from remora.transport.conformance.test_bulk import *  # noqa: F403
