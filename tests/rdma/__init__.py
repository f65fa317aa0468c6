"""Real verbs on machines that have no RDMA hardware: Soft-RoCE in a guest kernel (guest/), and what runs there.

`python -m tests.rdma` runs everything in inside/, in the guest. On the host, pytest leaves inside/ alone.
"""
