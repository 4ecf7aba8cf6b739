"""The name of every topic, and nothing else."""

EVENTS_SAVE = "events.save"
"""Events to be stored, published by an emission that does not wait for it. Body: ``{"events": [Event]}``."""

EVENTS_NOTIFY = "events.notify"
"""Events somebody is to be told of. Body: ``{"callback": Callback | None, "events": [EmittedEvent]}``."""
