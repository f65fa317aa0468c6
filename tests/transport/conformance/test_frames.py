"""See remora.transport.conformance.test_frames."""

from remora.transport.conformance.test_frames import *  # noqa: F403
