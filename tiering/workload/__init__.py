"""What kind of workload that is."""
