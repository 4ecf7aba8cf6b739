"""What ``make chaos`` is made of is worth something: the audit finds what is wrong, the proxy loses what it should."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from deploy.chaos.audit import Audit, Findings
from deploy.chaos.ledger import Ledger, Sighting
from deploy.chaos.load import Load
from deploy.chaos.proxy import FaultyProxy
from deploy.chaos.witnesses import CallbackReceiver, Subscriber
from deploy.local.s3 import KEY, REGION, S3, SECRET
from deploy.local.suite import ScaledSuite
from libs.client import MienClient
from libs.common.descriptors import DEFAULT_FACE, DLIB_RESNET
from libs.common.ids import new_id
from tests.running import RunningSuite

MATCHER = "matcher-1"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


async def audited(suite: RunningSuite, account: str, ledger: Ledger, list_id: str) -> Findings:
    """What the final audit says of an embedded suite, whose one matcher stands for all."""
    matcher = SimpleNamespace(url=suite.url_of("matcher"), child=SimpleNamespace(name=MATCHER))
    stage = cast("ScaledSuite", SimpleNamespace(url=suite.url, of=lambda _: [matcher]))
    load = cast("Load", SimpleNamespace(enrolled_list=list_id))
    audit = Audit(stage, account, ledger, load, CallbackReceiver(), Subscriber(suite.url, account))
    try:
        return await audit.everything()
    finally:
        await audit.close()


def someone() -> tuple[bytes, dict[str, Any]]:
    vector = np.random.default_rng().normal(size=DLIB_RESNET.length).astype("<f4").tobytes()
    return vector, {"descriptors": [{"descriptor": vector, "version": DEFAULT_FACE}]}


async def test_what_was_acknowledged_and_is_there_once_is_no_finding(suite: RunningSuite, ledger: Ledger) -> None:
    account = new_id()
    async with MienClient(suite.url, account=account) as client:
        list_id = await client.lists.create("enrolled")
        vector, attribute = someone()
        ledger.enrolled[await client.faces.create(lists=[list_id], attribute=attribute)] = vector
        event_id = await client.handlers.save_event(new_id(), {"user_data": "one"})
        ledger.saw(Sighting(event_id, "one"))
    assert await audited(suite, account, ledger, list_id) == Findings(found=1)


async def test_it_finds_what_is_lost_doubled_half_linked_and_matched_after_its_deletion(
    suite: RunningSuite, ledger: Ledger
) -> None:
    account, lost_event, lost_face = new_id(), new_id(), new_id()
    async with MienClient(suite.url, account=account) as client:
        list_id = await client.lists.create("enrolled")
        for _ in range(2):
            await client.handlers.save_event(new_id(), {"user_data": "twice"})
        unlinked = await client.faces.create()
        vector, attribute = someone()
        undead = await client.faces.create(lists=[list_id], attribute=attribute)
    ledger.saw(Sighting(lost_event, "lost"))
    ledger.enrolled[lost_face] = someone()[0]
    ledger.deleted[undead] = vector

    findings = await audited(suite, account, ledger, list_id)
    assert findings.lost == [f"event {lost_event} is gone", f"face {lost_face} is gone"]
    assert findings.doubled == ["request twice made 2 events"]
    assert findings.wrong == [
        f"face {unlinked} is half-linked: []",
        f"face {undead} is there again",
        f"enrolled face {lost_face} is not matched by {MATCHER}",
        f"deleted face {undead} is still matched by {MATCHER}",
    ]
    assert not findings.is_clean


async def test_the_proxy_passes_signed_requests_on_and_of_the_writes_that_fail_some_are_stored(ceph_server: S3) -> None:
    ceph_server.add_bucket("through-a-proxy")
    proxy = FaultyProxy(ceph_server.url, seed=1)
    await proxy.start()
    store = S3Store(
        "through-a-proxy",
        endpoint=proxy.url,
        region=REGION,
        access_key_id=KEY,
        secret_access_key=SECRET,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    try:
        await obstore.put_async(store, "whole", b"body", mode="create")
        assert (await obstore.head_async(store, "whole"))["size"] == 4

        proxy.failing_share = 1.0
        for number in range(20):
            with pytest.raises(BaseError):
                await obstore.put_async(store, f"lost/{number}", b"body")
        assert 0 < len((await obstore.list_with_delimiter_async(store, "lost"))["objects"]) < proxy.failed == 20
        assert bytes(await (await obstore.get_async(store, "whole")).bytes_async()) == b"body"
    finally:
        await proxy.stop()
