"""Every topic, the version of its messages, and who reads it: all that publishers and subscribers must agree on.

A publisher makes the queues of all subscribers named here, so that nothing is lost that was published before a
subscriber's first start. A change of a body that older readers cannot read is a new version; older messages must
stay readable, because they may wait in a queue or among the dead letters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.bus.port import Message, Unreadable


@dataclass(frozen=True)
class Topic:
    """``version`` is the newest schema that this release reads; a newer message becomes a dead letter at once."""

    name: str
    subscribers: tuple[str, ...]
    version: int = 1

    def queue(self, subscriber: str) -> str:
        """The queue of one subscriber. Raises ValueError for one that is not named here."""
        if subscriber not in self.subscribers:
            raise ValueError(f"{subscriber} is no subscriber of {self.name} (libs/common/bus/topics.py)")
        return f"{self.name}.{subscriber}"

    @property
    def queues(self) -> tuple[str, ...]:
        return tuple(self.queue(subscriber) for subscriber in self.subscribers)


EVENTS_SAVE = "events.save"
"""Events to be stored, and what is to be told of them then; published by an emission that does not wait for it. Body:
``libs.common.wire.notices.Save``."""

EVENTS_NOTIFY = "events.notify"
"""Events that subscribers of an account may want to see. Body: ``{"handler_id", "events": [ToldEvent], "emitted_ms"}``,
the latter milliseconds since 1970."""

CALLBACKS = "callbacks"
"""One HTTP callback to make. Body: the same, and ``"callback": Callback``."""

Topics = Mapping[str, Topic]

TOPICS: Topics = {
    topic.name: topic
    for topic in (
        Topic(EVENTS_SAVE, subscribers=("events",)),
        Topic(EVENTS_NOTIFY, subscribers=("sender",)),
        Topic(CALLBACKS, subscribers=("sender",)),
    )
}


def topic_named(name: str, topics: Topics) -> Topic:
    """Raises ValueError for a topic that is not there."""
    if name not in topics:
        raise ValueError(f"no topic is named {name} (libs/common/bus/topics.py)")
    return topics[name]


def queues_of(topics: Topics) -> list[str]:
    """The queues of all subscribers of all topics."""
    return [queue for topic in topics.values() for queue in topic.queues]


def readable(message: Message, topics: Topics) -> Message:
    """``message``, if this release reads its schema. Raises Unreadable."""
    topic = topics.get(message.topic)
    if topic is None:
        raise Unreadable(f"topic {message.topic} is not known here")
    if message.version > topic.version:
        raise Unreadable(f"version {message.version} of {message.topic}; this release reads up to {topic.version}")
    return message
