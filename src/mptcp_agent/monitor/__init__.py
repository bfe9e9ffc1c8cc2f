"""What is watched beside the loop: paths, tunnel, traffic, processes, counters, host names."""
