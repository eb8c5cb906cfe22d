"""What a monitoring system asks of governance (`views/metrics.py` has the shape, and the other questions)."""

from __future__ import annotations

from fedtui.core.governance import findings
from fedtui.core.views.metrics import GaugeDefinition, Look, Samples


def _open(look: Look) -> Samples:
    return {(severity,): count for severity, count in findings.counts(look.session, look.now).items()}


def _scan_age(look: Look) -> Samples:
    scanned = findings.scanned_at(look.session)
    return {(): (look.now - scanned).total_seconds()} if scanned is not None else {}


QUESTIONS: tuple[GaugeDefinition, ...] = (
    GaugeDefinition("fedtui_governance_findings", "Findings that are open.", ("severity",), _open),
    GaugeDefinition(
        "fedtui_governance_scan_age_seconds", "Since the table of rules was last gone through.", (), _scan_age
    ),
)
