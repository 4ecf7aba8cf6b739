"""Write the reference pages that are made from the code: ``python docs/tables.py``. A test keeps them true."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from pydantic_settings import BaseSettings

from libs.common.errors import Code
from libs.common.settings import PORT_OFFSETS, FetchSettings, SdkSettings, SenderSettings, Settings, StorageSettings

HERE = Path(__file__).resolve().parent


def errors_page() -> str:
    """``errors.md``: every code, its status and meaning."""
    rows = "\n".join(
        f'| <a id="code-{code.number}"></a>{code.number} | {code.status} | {code.desc} |'
        for code in sorted(Code, key=lambda code: code.number)
    )
    return (
        "# Error codes\n\n"
        "Every failure is answered with `{error_code, desc, detail, link}`. `desc` is constant per code; `detail`\n"
        "says what was wrong and where. An id that is missing is 404 in a path and 400 in a body or query, whatever\n"
        "the table says. In multi-image calls a picture that fails carries the same object in its own entry.\n\n"
        "| code | HTTP | meaning |\n|--:|--:|--|\n" + rows + "\n"
    )


def settings_page() -> str:
    """``settings.md``: every environment variable."""
    ports = ", ".join(f"{name} +{offset}" for name, offset in PORT_OFFSETS.items())
    return (
        "# Settings\n\n"
        "Read from the environment; one that is not set there may be a file of its name in `MIEN_SECRETS_DIR`\n"
        "(`/run/secrets` unless set). Unset, or empty, means the default.\n\n"
        "| variable | default | meaning |\n|--|--|--|\n"
        + "".join(_rows(model) for model in (Settings, StorageSettings, SdkSettings, FetchSettings, SenderSettings))
        + f"\nA service without a port of its own listens at `MIEN_PORT` plus its distance: {ports}.\n"
    )


def _rows(model: type[BaseSettings]) -> str:
    prefix = model.model_config.get("env_prefix", "")
    return "".join(
        f"| `{prefix}{name.upper()}` | `{field.get_default()}` | {field.description or ''} |\n"
        for name, field in model.model_fields.items()
        if name not in ("storage", "sdk", "fetch", "sender")
    )


def metrics_page() -> str:
    """``metrics.md``: every metric of ours, in whichever process it is."""
    rows = "".join(
        f"| `{name}` | {metric.describe()[0].type} | {', '.join(metric._labelnames)} | {metric._documentation} |\n"
        for name, metric in sorted(metrics().items())
    )
    return (
        "# Metrics\n\n"
        "Every service answers `GET /metrics` in Prometheus' format. One that a service has nothing to do with is not\n"
        "there, and one with labels appears with its first value. Beside these there are `process_*` and\n"
        "`python_*`.\n\n"
        "| name | kind | labels | meaning |\n|--|--|--|--|\n" + rows
    )


def metrics() -> dict[str, MetricWrapperBase]:
    """Every metric that the code declares, by the name Prometheus sees (histograms': without their endings)."""
    for package in ("libs", "services", "mien"):
        for module in pkgutil.walk_packages([str(HERE.parent / package)], f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    declared = {metric for metric in REGISTRY._collector_to_names if isinstance(metric, MetricWrapperBase)}
    return {_exposed(metric): metric for metric in declared if metric.describe()[0].name.startswith("mien_")}


def _exposed(metric: MetricWrapperBase) -> str:
    described = metric.describe()[0]
    return f"{described.name}_total" if described.type == "counter" else described.name


PAGES = {"errors.md": errors_page, "settings.md": settings_page, "metrics.md": metrics_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page())
