"""What `make bench` runs: layers of several libraries, measured in turns."""
