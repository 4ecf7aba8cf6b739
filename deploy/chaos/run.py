"""One run: start, load, one fault after the other with an account of each, and an account of everything."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.chaos import bus
from deploy.chaos.audit import Audit, Findings
from deploy.chaos.faults import Fault, Scene, faults_of, in_turn_and_at_random
from deploy.chaos.ledger import Ledger
from deploy.chaos.load import Load
from deploy.chaos.proxy import FaultyProxy
from deploy.chaos.report import Episode, Report
from deploy.chaos.witnesses import CallbackReceiver, Subscriber
from deploy.local.suite import ScaledSuite
from libs.client import MienApiError, MienClient, MienUnreachable
from libs.common.bus.topology import WORK
from libs.common.ids import new_id

ENVIRONMENT = {
    "MIEN_SDK_DETECT_LONG_SIDE": "300",
    "MIEN_SDK_WORKERS": "1",
    "MIEN_FETCH_ALLOW_URLS": "1",
    "MIEN_FETCH_ALLOW_NETWORKS": "127.0.0.0/8",
}
"""Small pictures on one thread leave the cores to the rest; callbacks come to this machine."""
PROBES = 3
"""Probes in a row that have to succeed: with two processes of each service, one may be luck."""
PROBE_S = 5.0
LOST_AFTER_S = 120.0
"""When it is given up that the suite serves again, or at all."""
WARM_UP_S = 5.0
"""Load before the first fault."""
QUIET_S = 60.0
"""In which every queue has to be empty when nothing is sent any more."""
POLL_S = 0.2


@dataclass(frozen=True)
class Options:
    """It goes on for ``seconds``, and longer until there were ``kills``; ``s3`` is ceph, moto or auto.

    ``copies`` are the processes of each service; without it two of each. Only faults with ``only`` in their names come.
    """

    seconds: float
    kills: int
    seed: int
    s3: str = "auto"
    copies: Mapping[str, int] | None = None
    only: str = ""


@dataclass
class Stage:
    """A suite that serves, under load and with witnesses."""

    scene: Scene
    ledger: Ledger
    audit: Audit
    subscriber: Subscriber
    prober: MienClient
    report: Report
    say: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)

    def elapsed_s(self) -> float:
        return time.monotonic() - self.began


async def run(options: Options, folder: Path, say: Callable[[str], None]) -> Report:
    """Raises DidNotStart, NotInstalled; what goes wrong after that is in the report."""
    async with _stage(options, folder, say) as stage:
        load = asyncio.create_task(stage.scene.load.run(), name="load")
        try:
            await _until_serving(stage)
            await asyncio.sleep(WARM_UP_S)
            await _episodes(stage, options)
        except TimeoutError:
            stage.report.failure = f"did not serve within {LOST_AFTER_S:g} s"
        finally:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
        await _conclude(stage)
        return stage.report


@asynccontextmanager
async def _stage(options: Options, folder: Path, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    account = new_id()
    async with AsyncExitStack() as stack:
        receiver = CallbackReceiver()
        suite = ScaledSuite(folder, s3=options.s3, copies=options.copies, say=say)
        proxy = FaultyProxy(suite.s3.url, options.seed)
        for server in (receiver, proxy):
            await server.start()
            stack.push_async_callback(server.stop)
        suite.environment.update(ENVIRONMENT, MIEN_S3_URL=proxy.url)
        stack.push_async_callback(asyncio.to_thread, suite.stop)
        await asyncio.to_thread(suite.start)
        client = await stack.enter_async_context(MienClient(suite.url, account=account, timeout_s=30, retries=0))
        prober = await stack.enter_async_context(MienClient(suite.url, account=account, timeout_s=PROBE_S, retries=0))
        ledger = Ledger()
        load = Load(client, ledger, receiver.url, options.seed)
        await load.prepare()
        subscriber = Subscriber(suite.url, account)
        stack.push_async_callback(subscriber.stop)
        await subscriber.start()
        audit = Audit(suite, account, ledger, load, receiver, subscriber)
        stack.push_async_callback(audit.close)
        scene = Scene(suite, proxy, receiver, load, random.Random(options.seed))
        yield Stage(scene, ledger, audit, subscriber, prober, Report(options.seed), say)


async def _episodes(stage: Stage, options: Options) -> None:
    """Faults until the time is over and there were enough kills. Raises TimeoutError when it does not serve again."""
    every = faults_of(stage.scene.suite)
    faults = [fault for fault in every if options.only in fault.name]
    if not faults:
        names = ", ".join(fault.name for fault in every)
        stage.report.failure = f"no fault has {options.only!r} in its name; there are: {names}"
        return
    kills = options.kills if any(fault.kills for fault in faults) else 0
    for fault in in_turn_and_at_random(faults, stage.scene.random):
        is_late = stage.elapsed_s() >= options.seconds
        if is_late and stage.report.kills >= kills:
            return
        if not is_late or fault.kills:
            stage.report.episodes.append(await _episode(stage, fault))


async def _episode(stage: Stage, fault: Fault) -> Episode:
    began_s, refused = stage.elapsed_s(), stage.ledger.refused.total()
    await fault.inflict(stage.scene)
    over_s = stage.elapsed_s()
    await _until_serving(stage)
    recovered_s = stage.elapsed_s() - over_s
    findings = await stage.audit.recent()
    settled_s = stage.elapsed_s() - over_s
    refused = stage.ledger.refused.total() - refused
    stage.say(
        f"{began_s:6.1f} s  {fault.name}: served again after {recovered_s:.1f} s, accounted for after {settled_s:.1f} s"
        f" ({refused} refused, {len(findings.lost)} lost, {len(findings.doubled)} doubled, {len(findings.wrong)} wrong)"
    )
    return Episode(fault.name, fault.kills, began_s, recovered_s, settled_s, refused, findings)


async def _until_serving(stage: Stage) -> None:
    """Raises TimeoutError when it does not."""
    in_a_row = 0
    async with asyncio.timeout(LOST_AFTER_S):
        while in_a_row < PROBES:
            in_a_row = in_a_row + 1 if await _serves(stage) else 0
            await asyncio.sleep(0 if in_a_row else POLL_S)


async def _serves(stage: Stage) -> bool:
    """Whether an event can be stored and read, and everything a photo needs is done."""
    try:
        async with asyncio.timeout(PROBE_S):
            await stage.scene.load.probe(stage.prober)
    except (MienApiError, MienUnreachable, TimeoutError):
        return False
    return True


async def _conclude(stage: Stage) -> None:
    """The account of everything, once what was sent has come to rest."""
    report, ledger = stage.report, stage.ledger
    report.final = await stage.audit.recent()
    report.final.wrong += await _unread(stage) + await _unexplained(stage)
    everything = await stage.audit.everything()
    report.final = Findings(0, report.final.lost, report.final.doubled, report.final.wrong) + everything
    report.seconds = stage.elapsed_s()
    report.load = os.getloadavg()[1]
    report.acknowledged = ledger.acknowledged
    report.refused = ledger.refused
    report.surprises = stage.scene.load.surprises
    told = (stage.scene.receiver.told, stage.subscriber.told)
    report.told_by_callback, report.told_by_socket = map(len, told)
    report.told_again = sum(heard.total() - len(heard) for heard in told)
    report.connections = stage.subscriber.connections


async def _unread(stage: Stage) -> list[str]:
    """Queues in which something still waits although nothing is sent."""
    deadline = time.monotonic() + QUIET_S
    while True:
        queues = await asyncio.to_thread(stage.scene.suite.rabbit.queues)
        waiting = {queue["name"]: queue.get("messages", 0) for queue in queues if not queue["name"].endswith(".dead")}
        full = [f"queue {name} still holds {count} messages" for name, count in waiting.items() if count]
        if not full or time.monotonic() > deadline:
            return full
        await asyncio.sleep(POLL_S)


async def _unexplained(stage: Stage) -> list[str]:
    """Dead letters that none of our faults made, and unreadable messages of ours that are not among them.

    A request for inference is a dead letter once two workers went away with it: killed, or cut off by the broker.
    """
    letters = await bus.dead_letters(stage.scene.suite.rabbit.url)
    stage.report.dead_letters = Counter(letter.reason for letter in letters)
    ours = [letter for letter in letters if letter.message_id.startswith(bus.POISON)]
    others = [
        f"dead letter {each.message_id} in {each.queue}: {each.reason}"
        for each in letters
        if each not in ours and each.queue != WORK
    ]
    missing = stage.scene.poisoned - len(ours)
    return others + ([f"{missing} unreadable messages are not among the dead letters"] if missing else [])
