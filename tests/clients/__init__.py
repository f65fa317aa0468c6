"""Other people's CUDA stacks, judged by their own tests: how much of each works on the software GPU."""
