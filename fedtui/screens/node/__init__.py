"""Actions on the node as a whole: manager, policies, operators."""
