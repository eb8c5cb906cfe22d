"""How long the checks look back, wait, and put up with."""

from __future__ import annotations

from datetime import timedelta

LATE = 3
"""Intervals after which a run that did not come is overdue."""
FAR_LIMIT = timedelta(seconds=5)
"""For each step of looking at a remote: someone waits for the answer."""
PROBE_SECONDS, CALL_SECONDS = 22.0, 8.0
"""Limits of the checks that call: a probe takes up to four such steps, a call one."""
SKEW_LIMIT = 60.0
"""Seconds by which two clocks may differ: as long as a heartbeat's interval."""
LATELY = timedelta(hours=1)
REFUSALS_SINCE = timedelta(days=1)
URL_INSECURE = "url_insecure"
"""The fault of a peer with an http URL: it is not called."""
