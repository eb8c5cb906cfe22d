"""mTLS: certificates, key pairs, trust, and the probe."""
