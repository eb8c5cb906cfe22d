"""The playbook: from a symptom to its cause, the evidence, the smallest fix, and the proof that it worked."""
