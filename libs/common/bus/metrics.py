"""What every adapter of the bus counts."""

from prometheus_client import Counter, Gauge

WAITING = Gauge("mien_bus_waiting", "Messages that wait", ["queue"])
OLDEST = Gauge("mien_bus_oldest_seconds", "How long the message delivered last had waited; 0 if none waits", ["queue"])
REFUSED = Counter("mien_bus_refused_total", "Messages refused because their queue was full", ["queue"])
REDELIVERED = Counter("mien_bus_redelivered_total", "Deliveries that were not the first of their message", ["queue"])
EXPIRED = Counter("mien_bus_expired_total", "Requests dropped because nobody waited for the answer any more", ["queue"])
UNANSWERED = Counter("mien_bus_unanswered_total", "Requests whose answer did not come in time", ["queue"])
DEAD = Counter("mien_bus_dead_letters_total", "Messages given up", ["queue"])
BURIED = Gauge("mien_bus_buried", "Dead letters kept", ["queue"])
