"""The name of every topic, and nothing else."""

EVENTS_SAVE = "events.save"
"""Events to be stored, published by an emission that does not wait for it. Body: ``{"events": [Event]}``."""

EVENTS_NOTIFY = "events.notify"
"""Events that subscribers of an account may want to see. Body: ``{"handler_id", "events": [EmittedEvent]}``."""

CALLBACKS = "callbacks"
"""One HTTP callback to make. Body: ``{"handler_id", "callback": Callback, "events": [EmittedEvent]}``."""
