"""The playbook: symptoms, incidents, and the wizard."""
