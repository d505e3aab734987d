"""Files and environment → one frozen Snapshot, checked as a whole; the only place that reads the environment."""
