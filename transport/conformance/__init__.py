"""One suite of tests that every transport passes: ``python -m remora.transport.conformance NAME``.

NAME is one of Remora's carriers (tcp, shm, rdma) or MODULE:CLASS of a :class:`remora.transport.Transport` of
yours. It needs pytest and pytest-timeout (``pip install remora[test]``).
"""
