"""What Helm makes of our values with the charts they are for; skipped where there is no `helm` or no charts.

helm pull prefect-server --repo https://prefecthq.github.io/prefect-helm --untar --untardir CHARTS   (and prefect-worker)
SLIDEMILL_CHARTS=CHARTS pytest tests/deploy/test_deploy_helm.py
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from flows.engine.names import CONTROL_POOL, SLIDE_POOL
from tests.deploy.test_deploy import DEPLOY, KUBERNETES, manifests, ran, tool, yaml_of

NAMESPACE = "slidemill"
Manifest = dict[str, Any]
Key = str | int


class Release(NamedTuple):
    """As `helm upgrade --install` in deploy/README.md names them."""

    name: str
    chart: str
    values: str


SERVER = Release("prefect-server", "prefect-server", "server-values.yaml")
CONTROL = Release("slidemill-control", "prefect-worker", "control-worker-values.yaml")
SLIDES = Release("slidemill-slides", "prefect-worker", "slide-worker-values.yaml")
pytestmark = pytest.mark.slow
every_release = pytest.mark.parametrize("release", [SERVER, CONTROL, SLIDES], ids=lambda release: release.name)


@pytest.fixture(scope="module")
def helm() -> str:
    return tool("helm")


@pytest.fixture(scope="module")
def charts() -> Path:
    """Folder with both charts, unpacked, with their subcharts."""
    named = os.environ.get("SLIDEMILL_CHARTS")
    if not named:
        pytest.skip("SLIDEMILL_CHARTS names no folder with the charts prefect-server and prefect-worker")
    for release in (SERVER, CONTROL):
        if not (Path(named) / release.chart / "Chart.yaml").is_file():
            pytest.skip(f"no chart {release.chart} in SLIDEMILL_CHARTS")
    return Path(named)


def template(helm: str, charts: Path, release: Release, values: Path) -> list[Manifest] | str:
    """The manifests, or what Helm says is wrong; it checks the values against the chart's schema."""
    chart = str(charts / release.chart)
    done = ran(helm, "template", release.name, chart, "--namespace", NAMESPACE, "--values", str(values))
    return done.stderr if done.returncode else [one for one in yaml.safe_load_all(done.stdout) if one]


def rendered(helm: str, charts: Path, release: Release) -> list[Manifest]:
    found = template(helm, charts, release, KUBERNETES / release.values)
    assert isinstance(found, list), found
    return found


def one(found: list[Manifest], kind: str, name: str) -> Manifest:
    (only,) = (manifest for manifest in found if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name))
    return only


def pods(found: list[Manifest]) -> Iterator[Manifest]:
    for manifest in found:
        if manifest["kind"] in {"Deployment", "Job"}:
            yield manifest["spec"]["template"]["spec"]


def container(found: list[Manifest], kind: str, name: str) -> Manifest:
    (only,) = one(found, kind, name)["spec"]["template"]["spec"]["containers"]
    return only


def variables(of: Manifest) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom", {}).get("secretKeyRef")) for entry in of["env"]}


@every_release
def test_lint(helm: str, charts: Path, release: Release) -> None:
    done = ran(
        helm, "lint", str(charts / release.chart), "--namespace", NAMESPACE, "--values", str(KUBERNETES / release.values)
    )
    assert done.returncode == 0, done.stdout + done.stderr


@every_release
def test_manifests_by_kubernetes_schema(helm: str, charts: Path, release: Release, tmp_path: Path) -> None:
    program = tool("kubernetes-validate")
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(rendered(helm, charts, release)))
    done = ran(program, "--strict", "--no-warn", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


@every_release
def test_no_variable_is_there_twice(helm: str, charts: Path, release: Release) -> None:
    """Helm 4 applies on the server's side, which refuses such a manifest (helm/helm#31529); Helm 3 took the last."""
    for pod in pods(rendered(helm, charts, release)):
        for part in pod["containers"]:
            assert max(Counter(entry["name"] for entry in part["env"]).values()) == 1


@every_release
def test_pods_are_confined(helm: str, charts: Path, release: Release) -> None:
    for pod in pods(rendered(helm, charts, release)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for part in pod["containers"]:
            context = part["securityContext"]
            assert context["runAsUser"] == pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"]
            assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= part["resources"]["limits"].keys()


@every_release
def test_what_is_named_is_made(helm: str, charts: Path, release: Release) -> None:
    """Secrets and config maps that are named are those the README makes, with these keys; claims are in slidemill.yaml."""
    readme = (DEPLOY / "README.md").read_text().replace("htpasswd -cB auth admin && ", "")
    made = {
        name: set(re.findall(r"--from-(?:literal|file)=([\w.-]+)", options))
        for name, options in re.findall(r"^k create (?:secret generic|configmap) (\S+) (.*)$", readme, re.MULTILINE)
    }
    claims = {found["metadata"]["name"] for found in manifests() if found["kind"] == "PersistentVolumeClaim"}
    for pod in pods(rendered(helm, charts, release)):
        for part in pod["containers"]:
            for entry in part["env"]:
                if source := entry.get("valueFrom"):
                    assert source["secretKeyRef"]["key"] in made[source["secretKeyRef"]["name"]]
            for source in part.get("envFrom") or []:
                assert source["secretRef"]["name"] in made
        for volume in pod.get("volumes") or []:
            assert volume.get("configMap", {"name": "slidemill-settings"})["name"] in made
            assert volume.get("persistentVolumeClaim", {"claimName": "slidemill-stores"})["claimName"] in claims


# --- each value does something


def leaves(value: Any, path: tuple[Key, ...] = ()) -> Iterator[tuple[Key, ...]]:
    """Paths of scalars and of the entries of lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        yield from ((*path, index) for index in range(len(value)))
    else:
        yield path


def at(value: Any, path: tuple[Key, ...]) -> Any:
    """What is there, None where there is nothing."""
    for key in path:
        known = value.get(key) if isinstance(value, dict) else None
        value = value[key] if isinstance(value, list) and isinstance(key, int) and key < len(value) else known
    return value


@every_release
def test_every_value_has_an_effect(helm: str, charts: Path, release: Release, tmp_path: Path) -> None:
    """Without it the manifests differ or cannot be made, unless it says what the chart says anyway."""
    text = json.dumps(yaml_of(KUBERNETES / release.values)[0])  # as text, so that what anchors share is apart
    defaults = yaml_of(charts / release.chart / "values.yaml")[0]
    everything = rendered(helm, charts, release)
    idle: list[tuple[Key, ...]] = []
    for path in leaves(json.loads(text)):
        values = json.loads(text)
        if at(values, path) == at(defaults, path):
            continue
        del at(values, path[:-1])[path[-1]]
        (tmp_path / "values.json").write_text(json.dumps(values))
        if template(helm, charts, release, tmp_path / "values.json") == everything:
            idle.append(path)
    assert idle == []


# --- the parts fit together


def test_server(helm: str, charts: Path) -> None:
    found = rendered(helm, charts, SERVER)
    api = container(found, "Deployment", "prefect-server")
    services = container(found, "Deployment", "prefect-server-background-services")
    migration = container(found, "Job", "prefect-server-db-migrations")
    assert "--no-services" in api["args"]
    assert services["args"] == ["prefect", "server", "services", "start"]
    assert migration["command"] == ["/bin/bash", "-c"]  # its script has `set -o pipefail`
    assert len({part["image"] for part in (api, services, migration)}) == 1
    assert one(found, "Deployment", "prefect-server")["spec"]["replicas"] == 2
    assert not any(manifest["kind"] in {"Secret", "StatefulSet", "PersistentVolumeClaim"} for manifest in found)
    for part in (api, services):
        given = variables(part)
        assert given["PREFECT_SERVER_API_AUTH_STRING"] == {"name": "slidemill-auth", "key": "auth-string"}
        assert given["PREFECT_REDIS_MESSAGING_URL"] == {"name": "slidemill-redis", "key": "url"}
        assert given["PREFECT_SERVER_DOCKET_URL"] == {"name": "slidemill-redis", "key": "docket-url"}
        # Set by the chart, under the old or the new name; with more than one server the defaults, in memory, are wrong.
        for setting, value in (
            (r"PREFECT_(SERVER_EVENTS_)?MESSAGING_BROKER", "prefect_redis.messaging"),
            (r"PREFECT_(SERVER_EVENTS_)?MESSAGING_CACHE", "prefect_redis.messaging"),
            (r"PREFECT_SERVER_EVENTS_CAUSAL_ORDERING", "prefect_redis.ordering"),
            (r"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE", "prefect_redis.lease_storage"),
            (r"PREFECT_(API|SERVER)_DATABASE_MIGRATE_ON_START", "false"),
        ):
            assert [text for name, text in given.items() if re.fullmatch(setting, name)] == [value], setting
    database = {"name": "slidemill-prefect-database", "key": "connection-string"}
    for part in (api, services, migration):
        assert database in variables(part).values()
    probes = {name: api[name]["httpGet"]["path"] for name in ("readinessProbe", "livenessProbe")}
    assert probes == {"readinessProbe": "/api/ready", "livenessProbe": "/api/health"}


def test_ingress_has_a_certificate(helm: str, charts: Path) -> None:
    ingress = one(rendered(helm, charts, SERVER), "Ingress", "prefect-server")["spec"]
    (rule,) = ingress["rules"]
    assert [tls["hosts"] for tls in ingress["tls"]] == [[rule["host"]]]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"]["name"] == "prefect-server"


@pytest.mark.parametrize(
    ("release", "pool", "kind"), [(CONTROL, CONTROL_POOL, "process"), (SLIDES, SLIDE_POOL, "kubernetes")]
)
def test_worker(helm: str, charts: Path, release: Release, pool: str, kind: str) -> None:
    service = one(rendered(helm, charts, SERVER), "Service", "prefect-server")
    address = f"{service['metadata']['name']}.{NAMESPACE}.svc.cluster.local:{service['spec']['ports'][0]['port']}"
    worker = container(rendered(helm, charts, release), "Deployment", release.name)
    arguments = dict(zip(worker["args"], worker["args"][1:], strict=False))
    assert (arguments["--pool"], arguments["--type"], arguments["--install-policy"]) == (pool, kind, "never")
    limit = yaml_of(KUBERNETES / release.values)[0]["worker"]["config"]["limit"]
    assert arguments["--limit"] == str(limit)
    assert "--with-healthcheck" in worker["args"]
    given = variables(worker)
    assert given["PREFECT_API_URL"] == f"http://{address}/api"
    assert given["PREFECT_API_AUTH_STRING"] == {"name": "slidemill-auth", "key": "auth-string"}
    (init,) = (found for found in manifests() if found["metadata"].get("name") == "slidemill-init")
    assert variables(init["spec"]["template"]["spec"]["containers"][0])["PREFECT_API_URL"] == given["PREFECT_API_URL"]
    written = [mount["mountPath"] for mount in worker["volumeMounts"] if not mount.get("readOnly")]
    assert sorted(written) == ["/home/prefect", "/tmp"]
    if release is SLIDES:
        assert given["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"] == NAMESPACE
        assert given["PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME"] == "slidemill-auth"
        assert given["PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_KEY"] == "auth-string"
