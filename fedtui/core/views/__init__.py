"""Read models of the node: JSON shapes, summaries, metrics, the audit export."""
