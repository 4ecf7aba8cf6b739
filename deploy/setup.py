#!/usr/bin/env python3
"""Set up ``.venv`` for one purpose: ``run``, ``demo``, ``local`` or ``test``. Needs Python 3.11+ and nothing else.

For ``local`` and ``test`` it also installs RabbitMQ, Redis and Ceph from Debian or Ubuntu when it may: as root or
with a sudo that asks no password, and unless MIEN_INSTALL_SERVERS=no. They are neither started nor enabled as services.

On a machine without an NVIDIA GPU torch's CPU build is taken where it can be had, so that a laptop does not
download CUDA; elsewhere, or when it cannot be had, the default build.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
EXTRAS = {"run": "", "demo": "[demo]", "local": "[demo,local]", "test": "[test]"}
SERVERS = {
    "rabbitmq-server": ["rabbitmq-server"],
    "redis-server": ["redis-server"],
    "radosgw": ["ceph-mon", "ceph-osd", "ceph-mgr", "radosgw", "ceph-common"],
}
"""Which packages bring a program."""
APT = """
set -e
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
fi
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"
if [ -d /run/systemd/system ]; then
    for package; do systemctl --quiet disable "$package" 2>/dev/null || true; done
fi
"""
"""policy-rc.d that exits with 101 is Debian's way of installing a service without starting it."""


def main(purpose: str) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is what an older Python would run first)
        sys.exit(
            f"Mien needs Python 3.11 or newer; this is {platform.python_version()}. Try: make PYTHON=python3.12 ..."
        )
    started = time.monotonic()
    if not PYTHON.exists():
        create_venv()
        run("pip", "install", "--quiet", "--disable-pip-version-check", "uv>=0.9")
    if wants_cpu_build():
        install("torch", "--index-url", CPU_BUILDS)
    install("--editable", f".{EXTRAS[purpose]}")
    if purpose in ("local", "test"):
        install_servers()
    (VENV / f"{purpose}.ready").touch()
    print(f"set up for '{purpose}' in {time.monotonic() - started:.0f} s, {size_mb(VENV)} MB in {VENV}")


def create_venv() -> None:
    try:
        venv.create(VENV, with_pip=True, clear=True)
    except subprocess.CalledProcessError:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit("This Python cannot make virtual environments (on Debian and Ubuntu: apt install python3-venv).")


def run(*arguments: str) -> None:
    subprocess.run([PYTHON, "-m", *arguments], check=True, cwd=ROOT)


def install(*what: str) -> None:
    run("uv", "pip", "install", "--quiet", "--python", str(PYTHON), "--constraint", "constraints.txt", *what)


def install_servers() -> None:
    """What is missing of SERVERS, where that may be done without asking; elsewhere say what would have to be done."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    missing = [package for name, some in SERVERS.items() if not shutil.which(name, path=path) for package in some]
    if not missing:
        return
    root = as_root() if os.environ.get("MIEN_INSTALL_SERVERS") != "no" and shutil.which("apt-get") else None
    if root is not None:
        print(f"installing {' '.join(missing)}")
        if (
            subprocess.run([*root, "sh", "-c", APT, "sh", *missing], stdout=subprocess.DEVNULL, check=False).returncode
            == 0
        ):
            return
    print(f"what needs these servers is skipped; on Debian or Ubuntu: sudo apt-get install {' '.join(missing)}")


def as_root() -> list[str] | None:
    """What a command that only root may run begins with; None when nobody may without a password."""
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None


def wants_cpu_build() -> bool:
    """No torch yet, no NVIDIA GPU, and the CPU builds answer (other systems' default build has no CUDA)."""
    if any((VENV / "lib").glob("python*/site-packages/torch")) or platform.system() != "Linux":
        return False
    if shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists():
        return False
    try:
        with urllib.request.urlopen(f"{CPU_BUILDS}/torch/", timeout=10) as answer:
            return answer.status == 200
    except (urllib.error.URLError, TimeoutError, OSError):
        print("torch's CPU builds cannot be reached: taking the default build, which brings CUDA along (several GB)")
        return False


def size_mb(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) >> 20


if __name__ == "__main__":
    main(sys.argv[1])
