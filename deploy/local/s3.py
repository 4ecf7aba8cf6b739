"""A private S3: Ceph's object gateway as the real one, moto's server for speed. Both behind :class:`S3`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.local.child import Child, DidNotStart, accepts, free_port
from deploy.local.server import NotInstalled, Server

KEY, SECRET = "mien-local", "mien-local-secret"
REGION = "us-east-1"


MADE = "made"
"""The file that says that the cluster and its user are whole."""
TRIES = 2
"""A storage daemon that asks the monitor too early fails with "wrong fsid"; seen only at the first start."""
COMMAND_S = 60.0
CONFIGURATION = """\
[global]
fsid = {cluster}
mon host = v1:127.0.0.1:{monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
keyring = {folder}/keyring
crash dir = {folder}
mon data = {folder}/mon
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 0
osd data = {folder}/osd
osd objectstore = bluestore
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
osd memory target = 939524096
osd client watch timeout = 2
bluestore block size = 3221225472
bluestore block wal create = false
bluestore block db create = false
rgw data = {folder}
rgw frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
"""
"""No authentication inside: only this machine can reach it, and S3's own signatures are checked all the same. A gateway
that was killed counts as a listener to changes of buckets for the watch timeout, and its successor waits for it."""


class S3(Server):
    """An S3 endpoint (``url``) whose one user has ``KEY`` and ``SECRET``; buckets are addressed by path."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder)
        self.port = port or free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add_bucket(self, name: str) -> None:
        """Make a bucket; harmless when it is there. Raises OSError when the server refuses or does not answer."""
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}),
        )
        try:
            client.create_bucket(Bucket=name)
        except (BotoCoreError, ClientError) as failure:
            raise OSError(f"bucket {name}: {failure}") from failure
        finally:
            client.close()


class Moto(S3):
    """moto's server (PyPI). Keeps everything in memory: what it had is gone when it stops."""

    remark = "moto stands in for S3 and keeps everything in memory"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, port)
        if not find_spec("moto"):
            raise NotInstalled("moto: pip install 'moto[server]'")
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._child = Child("moto", command, log=folder / "moto.log")

    @property
    def children(self) -> list[Child]:
        return [self._child]

    def answers(self) -> bool:
        return accepts(self.port)


class Ceph(S3):
    """Ceph's RADOS gateway over one monitor and one storage daemon on a sparse file. Raises NotInstalled."""

    START_S = 90.0

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder.resolve(), port)
        if missing := [name for name in ("ceph-mon", "ceph-osd", "radosgw", "ceph") if not shutil.which(name)]:
            packages = "ceph-mon ceph-osd ceph-mgr radosgw ceph-common"
            raise NotInstalled(f"Ceph ({', '.join(missing)}): apt-get install --no-install-recommends {packages}")
        self._monitor_port = free_port()
        self._monitor = self._daemon("ceph-mon", "-i", "a")
        self._storage = self._daemon("ceph-osd", "-i", "0")
        self._gateway = self._daemon("radosgw", "-n", "client.rgw")

    def _daemon(self, binary: str, *options: str) -> Child:
        command = [binary, "-f", *options, "-c", self.folder / "ceph.conf"]
        return Child(binary, command, log=self.folder / f"{binary}.log")

    @property
    def children(self) -> list[Child]:
        return [self._monitor, self._storage, self._gateway]

    def start(self) -> Self:
        """Start on what is in the folder; make the cluster and its user first when it is empty. Raises DidNotStart."""
        if not (self.folder / MADE).exists():
            self._make()
        self._start_cluster()
        self._gateway.start()
        self.wait()
        return self

    def _start_cluster(self) -> None:
        self._monitor.start()
        self._monitor.wait_until(lambda: accepts(self._monitor_port), self.START_S)
        self._storage.start()

    def _make(self) -> None:
        """The cluster and its user, from nothing; once more from nothing when the daemons ran into each other."""
        for attempts_left in reversed(range(TRIES)):
            try:
                self._make_cluster()
                self._start_cluster()
                self._make_user()
            except DidNotStart:
                self.kill()
                if not attempts_left:
                    raise
            else:
                (self.folder / MADE).touch()
                return

    def _make_cluster(self) -> None:
        """One monitor that knows one storage daemon, both with empty stores."""
        cluster, storage = str(uuid.uuid4()), str(uuid.uuid4())
        for name in ("mon", "osd"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir()
        addresses = {"monitor": self._monitor_port, "gateway": self.port}
        text = CONFIGURATION.format(folder=self.folder, cluster=cluster, **addresses)
        (self.folder / "ceph.conf").write_text(text)
        (self.folder / "keyring").touch()
        monitors = self.folder / "monitors"
        monitor = f"v1:127.0.0.1:{self._monitor_port}"
        self._do("monmaptool", "--create", "--clobber", "--addv", "a", monitor, "--fsid", cluster, monitors)
        self._do("ceph-mon", "-i", "a", "--mkfs", "--monmap", monitors, "--keyring", self.folder / "keyring")
        self._monitor.start()
        self._monitor.wait_until(lambda: accepts(self._monitor_port), self.START_S)
        self._do("ceph", "osd", "new", storage)
        self._do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", storage)
        self._do("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")

    def _make_user(self) -> None:
        names = ("--uid", "mien", "--display-name", "mien")
        self._do("radosgw-admin", "user", "create", *names, "--access-key", KEY, "--secret", SECRET)

    def _do(self, *command: str | Path) -> None:
        """One administrative command. Raises DidNotStart with what it said when it fails or takes too long."""
        try:
            subprocess.run(
                [*map(str, command), "-c", str(self.folder / "ceph.conf")],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=COMMAND_S,
                text=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
            raise DidNotStart(f"{command[0]}: {failure}\n{failure.stdout or ''}") from None

    def answers(self) -> bool:
        return accepts(self.port)
