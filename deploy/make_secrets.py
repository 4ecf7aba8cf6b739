#!/usr/bin/env python3
"""Make the secrets that docker-compose.yml mounts: ``python deploy/make_secrets.py``. What is there already is kept.

Compose mounts a secret as the file it is, so containers' users must be able to read it: the files are world-readable
in a folder that only their owner may enter.
"""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "secrets"
REDIS = """\
requirepass {password}
appendonly yes
appendfsync always
maxmemory-policy noeviction
dir /data
"""


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    made = [name for name, content in contents(folder).items() if write(folder / name, content)]
    print(f"{folder}: made {', '.join(made) or 'nothing, all is there'}")


def contents(folder: Path) -> dict[str, str]:
    """Every file by its name. Those that repeat a password take it from the file that has it, if that is there."""
    mongo = kept(folder / "mongo_password", secrets.token_urlsafe(24))
    rabbit = kept(folder / "rabbitmq_password", secrets.token_urlsafe(24))
    redis = kept(folder / "redis_password", secrets.token_urlsafe(24))
    key = kept(folder / "s3_key", "GK" + secrets.token_hex(12))
    secret = kept(folder / "s3_secret", secrets.token_hex(32))
    return {
        "mongo_root_password": secrets.token_urlsafe(24),
        "mongo_key": base64.b64encode(secrets.token_bytes(600)).decode(),
        "mongo_password": mongo,
        "mongo_url": f"mongodb://mien:{mongo}@mongo:27017/mien?replicaSet=rs0&authSource=mien",
        "rabbitmq_password": rabbit,
        "rabbitmq_user.conf": f"default_user = mien\ndefault_pass = {rabbit}\n",
        "bus_url": f"amqp://mien:{rabbit}@rabbitmq:5672/%2F",
        "redis_password": redis,
        "redis.conf": REDIS.format(password=redis),
        "redis_url": f"redis://:{redis}@redis:6379/0",
        "s3_key": key,
        "s3_secret": secret,
        "garage.env": f"GARAGE_DEFAULT_ACCESS_KEY={key}\nGARAGE_DEFAULT_SECRET_KEY={secret}\n",
        "secret_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "callback_secret": f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "garage_rpc_secret": secrets.token_hex(32),
        "grafana_password": secrets.token_urlsafe(24),
    }


def kept(path: Path, fresh: str) -> str:
    return path.read_text() if path.exists() else fresh


def write(path: Path, content: str) -> bool:
    """Whether it was made; what is there is kept."""
    if path.exists():
        return False
    path.write_text(content)
    path.chmod(0o444)
    return True


if __name__ == "__main__":
    main()
