"""Who may change what: operators, policies, approvals."""
