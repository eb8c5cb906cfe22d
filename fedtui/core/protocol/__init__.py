"""What two nodes say to each other: accept, heartbeat, renew, resources, probe."""
