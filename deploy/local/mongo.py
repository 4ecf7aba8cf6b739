"""A private MongoDB: ``mongod`` where there is one, else a server from PyPI that speaks its protocol over SQLite."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from deploy.local.child import Child, free_port
from deploy.local.server import NotInstalled, Server

REPLICA_SET = "mien"
PRIMARY = 1
"""``myState`` of a member that takes writes."""
NOT_INITIATED = 94
"""NotYetInitialized, from mongo/src/mongo/base/error_codes.yml."""


class Mongo(Server):
    """One node. A ``mongod`` is a replica set of one member, as transactions and change streams ask for."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder)
        self.port = port or free_port()
        mongod = shutil.which("mongod")
        self.is_mongod = mongod is not None
        command = _mongod(mongod, folder, self.port) if mongod else _stand_in(folder, self.port)
        self._child = Child("mongo", command, log=folder / "mongo.log")

    @property
    def remark(self) -> str:
        return "" if self.is_mongod else "no mongod on PATH: nx-27017 from PyPI stands in for MongoDB"

    @property
    def url(self) -> str:
        return self.url_of("mien")

    def url_of(self, database: str) -> str:
        """The address of one database."""
        return f"mongodb://127.0.0.1:{self.port}/{database}?directConnection=true"

    @property
    def children(self) -> list[Child]:
        return [self._child]

    def answers(self) -> bool:
        with MongoClient[dict[str, Any]](self.url, serverSelectionTimeoutMS=1000) as client:
            try:
                client.admin.command("ping")
                return self._is_primary(client) if self.is_mongod else True
            except PyMongoError:
                return False

    def _is_primary(self, client: MongoClient[dict[str, Any]]) -> bool:
        """Makes the replica set at the first start."""
        try:
            return client.admin.command("replSetGetStatus")["myState"] == PRIMARY
        except OperationFailure as refusal:
            if refusal.code != NOT_INITIATED:
                raise
        members = [{"_id": 0, "host": f"127.0.0.1:{self.port}"}]
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        return False


def _mongod(binary: str, folder: Path, port: int) -> list[str | Path]:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    address = ["--bind_ip", "127.0.0.1", "--port", str(port)]
    return [binary, "--dbpath", data, "--replSet", REPLICA_SET, *address, "--wiredTigerCacheSizeGB", "0.25"]


def _stand_in(folder: Path, port: int) -> list[str | Path]:
    if not find_spec("nx_27017"):
        raise NotInstalled("MongoDB: a mongod on PATH, or pip install nx-27017")
    data = folder / "data"
    data.mkdir(exist_ok=True)
    files = ["--data-dir", data, "--log-file", folder / "nx.log", "--pid-file", folder / "nx.pid"]
    return [sys.executable, "-m", "nx_27017.nx_27017", *files, "--host", "127.0.0.1", "--port", str(port)]
