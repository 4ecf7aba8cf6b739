"""What the settings say things are kept in, opened when a service asks for it and closed together."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from obstore.store import S3Store

from libs.common.errors import Code, MienError
from libs.common.sealing import Seal, key_in
from libs.common.settings import StorageSettings
from libs.common.storage.objects import RETRIES, TIMES
from libs.common.storage.sqlite import Database

if TYPE_CHECKING:  # each driver costs half a second to import, which only those wait who use it
    from pymongo import AsyncMongoClient
    from pymongo.asynchronous.database import AsyncDatabase
    from redis.asyncio import Redis

    from libs.common.storage.mongo import Document

REDIS_S = 2.0
"""For connecting and for one command."""


class Storage:
    """Each kind is None where the settings do not name it: then a service uses its embedded adapter.

    Raises MienError BAD_URL when what they say of S3 is only a part of it.
    """

    def __init__(self, settings: StorageSettings) -> None:
        _check_s3(settings)
        self._settings = settings
        self._databases: list[Database] = []
        self.folder = settings.data_dir
        self.durable = settings.durable

    async def sqlite(self, name: str, schema: str) -> Database:
        """The file ``name`` of the data folder, with its schema. Raises sqlite3.DatabaseError naming the file."""
        database = await Database(self.folder / name, schema, durable=self.durable).open()
        self._databases.append(database)
        return database

    @cached_property
    def mongo(self) -> AsyncDatabase[Document] | None:
        """Raises MienError BAD_URL."""
        return self._client.get_default_database() if self._client is not None else None

    @cached_property
    def _client(self) -> AsyncMongoClient[Document] | None:
        url = self._settings.mongo_url
        if url is None:
            return None
        from libs.common.storage import mongo

        return mongo.connect(url.get_secret_value())

    @cached_property
    def redis(self) -> Redis | None:
        url = self._settings.redis_url
        if url is None:
            return None
        from redis.asyncio import Redis

        return Redis.from_url(url.get_secret_value(), socket_timeout=REDIS_S, socket_connect_timeout=REDIS_S)

    @cached_property
    def objects(self) -> S3Store | None:
        """The bucket for pictures and claims."""
        settings = self._settings
        if settings.s3_url is None:
            return None
        return S3Store(
            settings.s3_bucket,
            endpoint=settings.s3_url,
            region=settings.s3_region,
            access_key_id=settings.s3_key.get_secret_value() if settings.s3_key else "",
            secret_access_key=settings.s3_secret.get_secret_value() if settings.s3_secret else "",
            virtual_hosted_style_request=False,
            client_options={**TIMES, "allow_http": settings.s3_url.startswith("http://")},
            retry_config=RETRIES,
        )

    @cached_property
    def seal(self) -> Seal:
        """For what nobody may read who sees a store or the bus. Raises MienError BAD_BODY, OSError."""
        given = self._settings.secret_key
        text = given.get_secret_value() if given else key_in(self.folder / "secret.key")
        try:
            return Seal([key.strip() for key in text.split(",")])
        except ValueError as wrong:
            raise MienError(Code.BAD_BODY, f"MIEN_SECRET_KEY: {wrong}") from None

    async def close(self) -> None:
        for database in self._databases:
            await database.close()
        if "_client" in self.__dict__ and self._client is not None:
            await self._client.close()
        if "redis" in self.__dict__ and self.redis is not None:
            await self.redis.aclose()


def _check_s3(settings: StorageSettings) -> None:
    """A part without the others would be found out with the first picture; without the address not at all, because
    pictures would be files."""
    said = {"MIEN_S3_URL": settings.s3_url, "MIEN_S3_KEY": settings.s3_key, "MIEN_S3_SECRET": settings.s3_secret}
    has_bucket = settings.s3_bucket != StorageSettings.model_fields["s3_bucket"].default
    missing = [name for name, value in said.items() if not value]
    if missing and (has_bucket or len(missing) < len(said)):
        given = [name for name in said if name not in missing] + ["MIEN_S3_BUCKET"] * has_bucket
        detail = f"{', '.join(given)} without {', '.join(missing)}: name all of S3, or nothing for files"
        raise MienError(Code.BAD_URL, detail)
