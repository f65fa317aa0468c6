"""Real verbs on machines that have no RDMA hardware: Soft-RoCE in a guest kernel, and what is tested there.

`python -m tests.rdma` runs everything in inside/, in the guest. On the host, pytest leaves inside/ alone.
"""
