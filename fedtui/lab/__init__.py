"""Real nodes on loopback, federated: what the demo shows, and what faults are staged on."""
