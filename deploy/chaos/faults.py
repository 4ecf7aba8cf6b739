"""What goes wrong. Each fault returns when it is over, and from then on the suite has to serve again by itself."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

from deploy.chaos import bus
from deploy.chaos.load import Load
from deploy.chaos.proxy import FaultyProxy
from deploy.chaos.witnesses import CallbackReceiver
from deploy.local.child import Child
from deploy.local.s3 import Moto
from deploy.local.suite import ScaledSuite
from libs.common.bus.topics import EVENTS_SAVE, TOPICS
from libs.common.bus.topology import work_queue

AWAY_S = 6.0
"""How long something is gone that is gone for a while."""
LASTING_S = 8.0
"""How long something goes wrong that does so for a while."""
POLL_S = 0.05
BURST, ROOM = 300, 100
"""Messages for a queue that nobody reads, and how many it takes."""


@dataclass
class Scene:
    """What a fault may reach for."""

    suite: ScaledSuite
    proxy: FaultyProxy
    receiver: CallbackReceiver
    load: Load
    random: random.Random
    poisoned: int = 0


@dataclass(frozen=True)
class Fault:
    name: str
    inflict: Callable[[Scene], Awaitable[None]]
    kills: int = 0
    """Processes that it ends with SIGKILL."""


def faults_of(suite: ScaledSuite) -> list[Fault]:
    """Everything that can go wrong with this suite."""
    kills = [Fault(f"kill -9 {service}", partial(kill_one, service), kills=1) for service in suite.services]
    away = [Fault(f"{name} is away", partial(away_for_a_while, name)) for name in ("redis", "mongo")]
    lasting = [
        Fault("a process stands still", frozen),
        Fault("rabbitmq restarts", restart_rabbit),
        Fault("kill -9 redis", partial(kill_server, "redis"), kills=1),
        Fault("kill -9 mongo", partial(kill_server, "mongo"), kills=1),
        Fault("s3 fails half of its writes", failing_writes),
        Fault("callbacks are refused", refused_callbacks),
        Fault("double: every message twice", twice),
        Fault("poison: unreadable messages", poison),
        Fault("full queue", full_queue),
    ]
    if isinstance(suite.s3, Moto):  # what it holds is gone with its process
        return kills + away + lasting
    s3 = [
        Fault("s3 is away", partial(away_for_a_while, "s3")),
        Fault("kill -9 s3", partial(kill_server, "s3"), kills=1),
    ]
    return kills + away + lasting + s3


def in_turn_and_at_random(faults: list[Fault], chance: random.Random) -> Iterator[Fault]:
    """Every fault once in an order of chance, then all again in another one, without end."""
    while True:
        yield from chance.sample(faults, len(faults))


async def kill_one(service: str, scene: Scene) -> None:
    """One process of a service; the supervisor starts it again."""
    await _kill(scene.random.choice(scene.suite.of(service)).child)


async def kill_server(name: str, scene: Scene) -> None:
    """The process that answers; over once its successor does."""
    server = scene.suite.servers[name]
    await _kill(server.children[-1])
    await _until(server.answers)


async def _kill(child: Child) -> None:
    if pid := child.pid:
        os.kill(pid, signal.SIGKILL)
        await _until(lambda: child.pid != pid)


async def _until(condition: Callable[[], bool]) -> None:
    while True:
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(POLL_S)


async def away_for_a_while(name: str, scene: Scene) -> None:
    server = scene.suite.servers[name]
    await asyncio.to_thread(scene.suite.halt, server)
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(scene.suite.resume, server)


async def frozen(scene: Scene) -> None:
    """One process of a service that has several takes connections and answers nothing, then goes on."""
    services = [service for service in scene.suite.services if len(scene.suite.of(service)) > 1]
    child = scene.random.choice(scene.suite.of(scene.random.choice(services))).child
    child.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(AWAY_S)
    finally:
        child.signal(signal.SIGCONT)


async def restart_rabbit(scene: Scene) -> None:
    await asyncio.to_thread(scene.suite.halt, scene.suite.rabbit)
    await asyncio.to_thread(scene.suite.resume, scene.suite.rabbit)


async def failing_writes(scene: Scene) -> None:
    scene.proxy.failing_share = 0.5
    await asyncio.sleep(LASTING_S)
    scene.proxy.failing_share = 0.0


async def refused_callbacks(scene: Scene) -> None:
    scene.receiver.failing = True
    await asyncio.sleep(LASTING_S)
    scene.receiver.failing = False


async def twice(scene: Scene) -> None:
    async with bus.everything_twice(scene.suite.rabbit.url):
        await asyncio.sleep(LASTING_S)


async def poison(scene: Scene) -> None:
    scene.poisoned += await bus.poison(scene.suite.rabbit.url, scene.poisoned)


async def full_queue(scene: Scene) -> None:
    """The readers of events to be stored stand still until their queue refuses more."""
    readers = [process.child for process in scene.suite.of("events")]
    [queue] = TOPICS[EVENTS_SAVE].queues
    with scene.suite.rabbit.bounded(work_queue(queue), ROOM):
        for reader in readers:
            reader.signal(signal.SIGSTOP)
        try:
            burst = asyncio.gather(*(scene.load.raw_event(wait=False) for _ in range(BURST)))
            await asyncio.wait([burst], timeout=AWAY_S)
        finally:
            for reader in readers:
                reader.signal(signal.SIGCONT)
        await burst
