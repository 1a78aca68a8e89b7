"""What a Prometheus metric says, for tests."""

from prometheus_client import Counter, Gauge


def value_of(metric: Counter | Gauge) -> float:
    """The value of a counter or gauge; one with labels has to be given them first (`metric.labels(...)`)."""
    [family] = metric.collect()
    return family.samples[0].value
