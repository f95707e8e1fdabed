"""Alerts in the format of Alertmanager's webhook, version 4, for the scenarios."""

from typing import Any


def alert(
    *,
    name: str = "ModelLatencyP99High",
    model: str = "reranker-v3",
    summary: str = "slow",
    title: str = "slow",
    status: str = "firing",
    **more: str,
) -> dict[str, Any]:
    """One alert; `more` are further labels."""
    labels = {"alertname": name, "environment": "production", "service": "answers", "model": model, "severity": "critical", **more}
    return {
        "version": "4",
        "groupKey": "{}",
        "status": status,
        "receiver": "muster",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": {"summary": summary, "title": title},
                "startsAt": "2026-11-20T10:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-20T11:00:00Z",
                "generatorURL": "http://prometheus.example",
                "fingerprint": f"{name}-{model[:20]}",
            }
        ],
    }
