"""`remora run` without its command line: a program's environment, its life as a process, its statistics."""
