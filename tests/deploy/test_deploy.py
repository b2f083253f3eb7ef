"""The files of deploy/: each read by the program it is for where that program is here, and by checks of our own everywhere.

`docker-compose`, `caddy`, `kubernetes-validate` come as wheels. There is no container engine: no image is built.
The Helm charts are not fetched either: the names of their values are in `tests/deploy/charts.py`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from flows.engine.names import CONTROL_POOL, CONVERT, EVERYWHERE, RECONCILE, SCAN, SERVER_ONLY, SLIDE_POOL
from flows.settings import Folder, Limits, Schedule, Settings, load_settings
from flows.share import Share
from tests.deploy.charts import SERVER_VALUES, WORKER_VALUES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and "secrets" not in path.parts and path.name != ".env")
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def tool(name: str) -> str:
    """A program beside this Python or on PATH; the test is skipped where there is none."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def ran(*command: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL, **more)


def yaml_of(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


COMPOSE = yaml_of(DEPLOY / "compose.yaml")[0]
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_file_parses(path: Path) -> None:
    text = path.read_text()
    if path.suffix == ".yaml":
        assert all(yaml_of(path))
    elif path.suffix == ".toml":
        assert tomllib.loads(text)
    elif path.suffix == ".json":
        assert json.loads(text)
    elif path.name.endswith("env.example"):
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert lines
        assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*=\S.*", line) for line in lines)
    elif path.suffix == ".sh":
        assert ran("sh", "-n", str(path)).stderr == ""


# --- names that must exist


@cache
def prefect_variables() -> frozenset[str]:
    """Every variable that Prefect, and prefect-redis, take a setting from."""
    from prefect.settings import Settings as PrefectSettings
    from prefect_redis.cleanup_queue import RedisWorkerCleanupQueueSettings
    from prefect_redis.client import RedisMessagingSettings

    found: set[str] = set()
    pending: list[type[BaseSettings]] = [PrefectSettings, RedisMessagingSettings, RedisWorkerCleanupQueueSettings]
    while pending:
        model = pending.pop()
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings):
                pending.append(field.annotation)
            found.add(f"{model.model_config.get('env_prefix', '')}{name}".upper())
    return frozenset(found)


KUBERNETES_VARIABLES = {  # of prefect-kubernetes 0.8.0 (its settings.py), which is only in Prefect's own image
    "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME",
    "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_KEY",
    "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_prefect_variables_are_settings(path: Path) -> None:
    named = {name.removesuffix("_FROM_FILE") for name in re.findall(r"\bPREFECT_[A-Z0-9_]+\b", path.read_text())}
    assert named <= prefect_variables() | KUBERNETES_VARIABLES


def test_server_and_clients_have_what_the_embedded_service_sets() -> None:
    for service in ("server", "services"):
        assert (EVERYWHERE | SERVER_ONLY).items() - {("PREFECT_WORKER_QUERY_SECONDS", "1")} <= SERVICES[service][
            "environment"
        ].items()
    for service in ("control", "worker", "init"):
        assert EVERYWHERE.items() <= SERVICES[service]["environment"].items()


def slidemill_commands() -> set[str]:
    """Commands of `slidemill`, those of a group with its name before them."""
    import typer

    from flows.cli import app

    def walk(command: Any, start: str) -> Iterator[str]:
        for name, child in getattr(command, "commands", {}).items():
            yield f"{start}{name}"
            yield from walk(child, f"{start}{name} ")

    return set(walk(typer.main.get_command(app), ""))


def test_slidemill_commands_exist() -> None:
    known = slidemill_commands()
    groups = {name.split()[0] for name in known if " " in name}
    named: set[str] = set()
    for path in FILES:
        text = path.read_text()
        calls = re.findall(r"(?:(?:&& |bin/|\[|`|^)slidemill,?|(?:^|`)sm) ([a-z].*)", text, re.MULTILINE)
        for words in (re.findall(r"[a-z]+", call) for call in calls):
            named.add(" ".join(words[: 2 if words[0] in groups else 1]))
    assert {"config migrate", "config deploy", "up", "metrics", "status"} <= named
    assert named <= known


# --- compose


def test_compose_by_docker_compose() -> None:
    program = tool("docker-compose")
    done = ran(program, "--env-file", "env.example", "config", "--quiet", cwd=DEPLOY)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_compose_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
    assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & service.keys()
    assert "docker.sock" not in json.dumps(service)
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= limits.keys()
    assert service["restart"] in {"unless-stopped", "on-failure:5"}
    assert pinned(service["image"])
    if name != "proxy":
        assert re.match(r"\$\{SLIDEMILL_UID:-10001\}|999:", service["user"])
    assert ("ports" in service) == (name == "proxy")
    assert "healthcheck" in service or "HEALTH_URL" in service["environment"]


def pinned(image: str) -> bool:
    """Whether an image's tag names a version."""
    tag = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", image).rpartition(":")[2]
    return re.search(r"\d+\.\d+", tag) is not None and "latest" not in tag


@pytest.mark.parametrize("name", SERVICES)
def test_compose_names_what_there_is(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert set(service.get("depends_on", {})) <= SERVICES.keys()
    for variable, value in service.get("environment", {}).items():
        if variable.endswith(("_FROM_FILE", "_FILE")):
            assert value.removeprefix("/run/secrets/") in service["secrets"], variable
    for volume in service.get("volumes", []):
        if isinstance(volume, str):
            assert volume.split(":")[0] in COMPOSE["volumes"]
            continue
        assert volume.get("read_only") or volume["target"] == "/srv/stores"
        if volume["target"] == "/srv/stores" and not volume.get("read_only"):
            assert name == "worker"


def test_compose_keeps_secrets_out_of_itself() -> None:
    text = (DEPLOY / "compose.yaml").read_text() + (DEPLOY / "env.example").read_text()
    assert not re.search(
        r"(?i)(password|secret|token)\s*[:=]\s*[\"']?[a-z0-9]{6,}", re.sub(r"/run/secrets/\w+|\./secrets/\w+", "", text)
    )
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert {"secrets/", ".env"} <= set((DEPLOY / ".gitignore").read_text().split())


# --- image

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def test_dockerfile() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    final = stages[-1]
    assert len(stages) == 2
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.13\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert final.index("\nUSER ") < final.index("\nENTRYPOINT ")
    assert re.search(r"^HEALTHCHECK .*CMD", final, re.MULTILINE)
    assert "--require-hashes --only-binary :all:" in stages[0]
    assert not re.search(r"latest|PYTHONDONTWRITEBYTECODE|\bgcc\b|build-essential|curl|ADD |sudo", DOCKERFILE)
    assert not re.search(r"pip (install|download)", final)
    for variable in ("PREFECT_SERVER_ANALYTICS_ENABLED=false", "DO_NOT_TRACK=1"):
        assert variable in final


def test_image_has_the_files_that_others_name() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    for name in ("entrypoint.sh", "healthcheck.py"):
        assert f"deploy/{name}" in DOCKERFILE
        assert f"!deploy/{name}" in ignored
    assert ignored[0] == "*"
    lock = (ROOT / "requirements.lock").read_text()
    for name in ("psycopg", "prefect-redis", "hatchling", f"prefect=={version('prefect')}"):
        assert re.search(rf"^{name}(==| )?", lock, re.MULTILINE), name


# --- systemd


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_unit(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    for wanted in (
        "User=slidemill",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "Restart=always",
    ):
        assert wanted in lines
    assert any(line.startswith("MemoryMax=") for line in lines)
    assert "StartLimitIntervalSec=0" in lines  # a database that is away for an hour must not stop it for good
    if "worker" in unit.name or "control" in unit.name:
        assert "KillSignal=SIGTERM" in lines
        # Prefect's own worker starts runs as `python`, which systemd's PATH does not have, or has another one of.
        assert any(line.startswith("ExecStart=/opt/slidemill/bin/slidemill worker --pool ") for line in lines)
    assert not any(re.search(r"nohup|&\s*$|/bin/sh", line) for line in lines if line.startswith("Exec"))


def test_units_by_systemd(tmp_path: Path) -> None:
    program = tool("systemd-analyze")
    for name in ("slidemill", "prefect", "python"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    for unit in UNITS:  # the programs are not installed where tests run
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/slidemill/bin", str(tmp_path)))
    done = ran(program, "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS))
    own = [line for line in done.stderr.splitlines() if "slidemill" in line]
    assert own == []


# --- settings


def uncommented() -> str:
    """The example with every setting given."""
    return re.sub(r"^# ([a-z_]+ = |\[\[)", r"\1", (DEPLOY / "slidemill.toml").read_text(), flags=re.MULTILINE)


def test_example_names_every_setting_and_default() -> None:
    given = tomllib.loads(uncommented())
    assert given.keys() == Settings.model_fields.keys()
    assert given["folders"][0].keys() == Folder.model_fields.keys()
    assert given["shares"][0].keys() == Share.model_fields.keys()
    assert given["limits"].keys() == Limits.model_fields.keys()
    # Half the processors of this machine is no default to write down.
    assert Limits(**given["limits"] | {"slides_at_once": 1}) == Limits(slides_at_once=1)
    assert given["schedule"] == Schedule().model_dump()
    assert given["port"] == Settings.model_fields["port"].default
    folder = {name: field.default for name, field in Folder.model_fields.items() if not field.is_required()}
    for name in ("queue", "priority", "quiet_seconds", "incomplete_hours", "original"):
        assert given["folders"][0][name] == folder[name]


def test_example_by_config_check(tmp_path: Path) -> None:
    path = tmp_path / "slidemill.toml"
    path.write_text((DEPLOY / "slidemill.toml").read_text().replace("/srv/", f"{tmp_path}/"))
    (tmp_path / "slides" / "scanner-1").mkdir(parents=True)
    done = ran(sys.executable, "-m", "flows.cli", "config", "check", "--config", str(path), "--json", cwd=ROOT)
    found = json.loads(done.stdout)
    assert [detail["name"] for detail in found.pop("details")] == ["scanner-1"]
    assert found == {"ok": True, "folders": ["scanner-1"], "findings": []}
    assert done.returncode == 0


def test_example_with_everything_given_is_read(tmp_path: Path) -> None:
    path = tmp_path / "slidemill.toml"
    text = re.sub(r"^(profile|original|move_to) = .*\n", "", uncommented(), flags=re.MULTILINE)
    path.write_text(text)
    assert load_settings(path).folders[0].marker == "{name}.done"


# --- Kubernetes

TEMPLATE = json.loads((KUBERNETES / "base-job-template.json").read_text())


def filled(value: Any) -> Any:
    """The job of the template with the defaults of its variables, lists and mappings in the form of a manifest."""
    defaults = {name: one.get("default") for name, one in TEMPLATE["variables"]["properties"].items()}
    defaults |= {"name": "slide", "command": ["prefect", "flow-run", "execute"]}
    defaults["env"] = [{"name": key, "value": text} for key, text in defaults["env"].items()]
    if isinstance(value, dict):
        return {key: filled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one) for one in value]
    if isinstance(value, str) and (whole := re.fullmatch(r"\{\{ (\w+) \}\}", value)):
        return defaults[whole[1]]
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: str(defaults[found[1]]), value) if isinstance(value, str) else value


def manifests() -> list[dict[str, Any]]:
    return [*yaml_of(KUBERNETES / "slidemill.yaml"), filled(TEMPLATE["job_configuration"]["job_manifest"])]


def test_manifests_by_kubernetes_schema(tmp_path: Path) -> None:
    program = tool("kubernetes-validate")
    path = tmp_path / "all.yaml"
    found = manifests()
    found[-1]["metadata"]["name"] = "slide"  # the schema knows no generateName
    path.write_text(yaml.safe_dump_all(found))
    done = ran(program, "--strict", "--no-warn", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_pods_are_confined() -> None:
    pods = [one["spec"]["template"]["spec"] for one in manifests() if one["kind"] in {"Job", "Deployment"}]
    assert len(pods) == 3
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            assert container["securityContext"] == context
            assert {"requests", "limits"} <= container["resources"].keys()
            assert pinned(container["image"])
            written = [one["name"] for one in container["volumeMounts"] if not one.get("readOnly")]
            assert set(written) <= {"scratch", "stores"}


def keys_of(value: dict[str, Any], start: str = "") -> Iterator[str]:
    for key, one in value.items():
        yield f"{start}{key}"
        if isinstance(one, dict):
            yield from keys_of(one, f"{start}{key}.")


@pytest.mark.parametrize(
    ("name", "known"), [("server", SERVER_VALUES), ("slide-worker", WORKER_VALUES), ("control-worker", WORKER_VALUES)]
)
def test_values_are_known_to_the_chart(name: str, known: frozenset[str]) -> None:
    values = yaml_of(KUBERNETES / f"{name}-values.yaml")[0]
    free = re.compile(r"(.*\.)?(resources|podSecurityContext|containerSecurityContext|securityContext|annotations)\.")
    assert {key for key in keys_of(values) if not free.match(key)} <= known


def test_values() -> None:
    server = yaml_of(KUBERNETES / "server-values.yaml")[0]
    # The chart fails unless the tag begins with a version of Prefect above 3.1.13 (templates/_validation.tpl).
    assert server["global"]["prefect"]["image"]["prefectTag"].startswith(f"{version('prefect')}-")
    assert server["backgroundServices"]["runAsSeparateDeployment"] is True
    assert server["server"]["basicAuth"]["existingSecret"]
    assert not any(server[name]["enabled"] for name in ("postgresql", "redis", "sqlite"))
    for name, pool in (("slide-worker", SLIDE_POOL), ("control-worker", CONTROL_POOL)):
        worker = yaml_of(KUBERNETES / f"{name}-values.yaml")[0]["worker"]
        assert worker["config"]["workPool"] == pool
        assert worker["image"]["prefectTag"].startswith(f"{version('prefect')}-")


# --- Prefect's own file


def test_prefect_file() -> None:
    found = {one["entrypoint"]: one for one in yaml_of(DEPLOY / "prefect.yaml")[0]["deployments"]}
    pools = {CONVERT: SLIDE_POOL, SCAN: CONTROL_POOL, RECONCILE: CONTROL_POOL}
    assert {name.rpartition(".")[2]: one["work_pool"]["name"] for name, one in found.items()} == pools
    intervals = {SCAN: Schedule().scan_run_seconds, RECONCILE: Schedule().reconcile_seconds}
    for name, seconds in intervals.items():
        assert [one["interval"] for one in found[f"flows.engine.runs.{name}"]["schedules"]] == [seconds]
    assert "git" not in re.sub(r"^#.*", "", (DEPLOY / "prefect.yaml").read_text(), flags=re.MULTILINE)
