"""Serving GPUs: the supervisor, one worker for each session, partitions, and the software GPU."""
