"""The programs of deploy/ run for real: entry point, health check, secrets, worker, proxy, databases, Prefect."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from flows.engine.names import CONTROL_POOL, CONVERT, RECONCILE, SCAN, SLIDE_POOL
from tests.deploy.test_deploy import DEPLOY, KUBERNETES, ROOT, ran, tool
from tests.service.postgres import MISSING, Postgres, binaries, free_port

BIN = Path(sys.executable).parent
PASSWORD = "correct horse battery"


def quiet_environment(**more: str) -> dict[str, str]:
    """This environment without anything of Prefect or the service, and more."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SLIDEMILL_"))}
    return kept | {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"} | more


@contextmanager
def running(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own that hears SIGINT; ended with everything it started."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - before any thread
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(what: Any, seconds: float = 200.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.1)
    pytest.fail(f"not within {seconds:.0f} s")


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5.0).is_success
    except httpx.HTTPError:
        return False


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = (self.headers.get("Authorization") or "").encode()
        self.send_response(503 if self.path == "/away" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base's
        return


@pytest.fixture
def upstream() -> Iterator[str]:
    """Address of a server that answers with the credential it was sent."""
    server = HTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


# --- in the container


def test_entrypoint_takes_secrets_from_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://a:b$HOME'\"c@d/e\n")
    given = {
        "PATH": os.environ["PATH"],
        "SLIDEMILL_LEDGER_FROM_FILE": str(tmp_path / "url"),
        "PREFECT_API_SSL_CERT_FILE": "/x",
    }
    done = ran("sh", str(DEPLOY / "entrypoint.sh"), "env", env=given)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found["SLIDEMILL_LEDGER"] == "postgresql://a:b$HOME'\"c@d/e"
    assert found["PREFECT_API_SSL_CERT_FILE"] == "/x"
    assert "SLIDEMILL_LEDGER_FROM_FILE" not in found


def test_entrypoint_refuses_to_start_without_its_secret(tmp_path: Path) -> None:
    given = {"PATH": os.environ["PATH"], "A_FROM_FILE": str(tmp_path / "none")}
    done = ran("sh", str(DEPLOY / "entrypoint.sh"), "echo", "started", env=given)
    assert (done.returncode, done.stdout) == (78, "")
    assert "cannot read" in done.stderr


def test_healthcheck(upstream: str) -> None:
    codes = {}
    for name, url in {"up": f"http://{upstream}/", "away": f"http://{upstream}/away", "none": "http://127.0.0.1:1/"}.items():
        codes[name] = ran(sys.executable, str(DEPLOY / "healthcheck.py"), env={"HEALTH_URL": url}).returncode
    assert codes == {"up": 0, "away": 1, "none": 1}


_FAKE_PREFECT = '''
import os, signal, subprocess, sys, time
run = """
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(1)
    pathlib.Path("given-back").touch()
    sys.exit()
signal.signal(signal.SIGTERM, stop)
pathlib.Path("runs").touch()
time.sleep(60)
"""
child = subprocess.Popen([sys.executable, "-c", run], start_new_session=True)
def stop(*_):
    child.kill()  # as Prefect's worker does
    child.wait()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
while True:
    time.sleep(0.1)
'''


def test_worker_lets_its_runs_give_their_slides_back(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "__init__.py").touch()
    (tmp_path / "prefect" / "__main__.py").write_text(_FAKE_PREFECT)
    command = ["sh", "-c", f"cd {tmp_path}; exec {sys.executable} -m flows.cli worker --pool x"]
    with running(command, quiet_environment(PYTHONPATH=str(tmp_path)), tmp_path / "log") as process:
        wait_for((tmp_path / "runs").exists)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(200) == 0
    assert (tmp_path / "given-back").exists()


def test_worker_ends_with_what_it_runs(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "__init__.py").touch()
    (tmp_path / "prefect" / "__main__.py").write_text("import sys; sys.exit(3)")
    done = ran(sys.executable, "-m", "flows.cli", "worker", env=quiet_environment(PYTHONPATH=str(tmp_path)))
    assert done.returncode == 3


# --- secrets, proxy, databases


def make_secrets(folder: Path, user: str, password: str, hash_password: str) -> subprocess.CompletedProcess[str]:
    (folder / "compose").mkdir(exist_ok=True)
    script = folder / "compose" / "make-secrets.sh"
    script.write_text((DEPLOY / "compose" / "make-secrets.sh").read_text())
    environment = quiet_environment(HASH_PASSWORD=hash_password)
    return subprocess.run(
        ["sh", str(script), user],
        input=f"{password}\n",
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_secrets(tmp_path: Path) -> None:
    assert make_secrets(tmp_path, "alice", PASSWORD, "sed s/.*/hashed/").returncode == 0
    found = {path.name: path.read_text().strip() for path in (tmp_path / "secrets").iterdir()}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert found["api_auth"] == f"alice:{PASSWORD}"
    assert found["proxy_users"] == "alice hashed"
    made = [found[name] for name in ("postgres_password", "prefect_database_password", "ledger_password", "redis_password")]
    assert len(set(made)) == 4
    assert all(len(one) == 48 for one in made)
    assert found["ledger_password"] in found["ledger_url"]
    assert make_secrets(tmp_path, "bob", PASSWORD, "sed s/.*/other/").returncode == 0
    assert {path.name: path.read_text().strip() for path in (tmp_path / "secrets").iterdir()} == found


@pytest.mark.parametrize(("user", "password"), [("alice", "short"), ("a b", PASSWORD), ("a;id", PASSWORD)])
def test_secrets_refuse(tmp_path: Path, user: str, password: str) -> None:
    assert make_secrets(tmp_path, user, password, "cat").returncode == 2
    assert not (tmp_path / "secrets" / "api_auth").exists()


def has_certificate(client: httpx.Client, address: str) -> bool:
    """Whether a connection can be made: the proxy listens before it has a certificate for the name."""
    try:
        client.get(address)
    except httpx.ConnectError:
        return False
    return True


def test_proxy_asks_for_the_password(tmp_path: Path, upstream: str) -> None:
    caddy = tool("caddy")
    assert make_secrets(tmp_path, "alice", PASSWORD, f"{caddy} hash-password").returncode == 0
    ports = {name: str(free_port()) for name in ("HTTPS_PORT", "HTTP_PORT", "HEALTH_PORT")}
    environment = quiet_environment(
        SLIDEMILL_HOST="localhost",
        PROXY_USERS=str(tmp_path / "secrets" / "proxy_users"),
        API_UPSTREAM=upstream,
        METRICS_UPSTREAM=upstream,
        XDG_DATA_HOME=str(tmp_path / "data"),
        XDG_CONFIG_HOME=str(tmp_path / "config"),
        **ports,
    )
    command = [caddy, "run", "--config", str(DEPLOY / "compose" / "Caddyfile"), "--adapter", "caddyfile"]
    with running(command, environment, tmp_path / "log"):
        wait_for(lambda: answers(f"http://127.0.0.1:{ports['HEALTH_PORT']}/"))
        authority = tmp_path / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        wait_for(authority.exists)
        with httpx.Client(verify=ssl.create_default_context(cafile=str(authority)), timeout=120.0) as client:
            address = f"https://localhost:{ports['HTTPS_PORT']}"
            wait_for(lambda: has_certificate(client, address))
            for path in ("/", "/api/ready", "/docs", "/metrics"):
                assert client.get(f"{address}{path}").status_code == 401
            assert client.get(address, auth=("alice", "wrong")).status_code == 401
            answer = client.get(f"{address}/api/ready", auth=("alice", PASSWORD))
        # The credential goes on to the API, which asks for the same.
        assert (answer.status_code, answer.text[:6]) == (200, "Basic ")
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert PASSWORD not in (tmp_path / "log").read_text()


def test_databases_are_made(tmp_path: Path) -> None:
    """The first start of PostgreSQL: each role has its database, and no way into the other's."""
    folder = binaries()
    if folder is None:
        pytest.skip(MISSING)
    assert make_secrets(tmp_path, "alice", PASSWORD, "cat").returncode == 0
    cluster = Postgres(folder)
    try:
        cluster.make()
        cluster.start()
        place = f"host=127.0.0.1 port={cluster.port} dbname=postgres"
        with psycopg.connect(f"{place} user=slidemill") as connection:
            connection.execute("CREATE ROLE postgres SUPERUSER LOGIN")
        with psycopg.connect(f"{place} user=postgres") as connection:
            connection.execute("ALTER ROLE slidemill RENAME TO first")
        path = f"{folder}:{os.environ['PATH']}"
        environment = quiet_environment(
            PATH=path, PGHOST="127.0.0.1", PGPORT=str(cluster.port), SECRETS=str(tmp_path / "secrets")
        )
        done = ran("sh", str(DEPLOY / "compose" / "postgres-init.sh"), env=environment)
        assert (done.returncode, done.stderr) == (0, "")
        for role in ("prefect", "slidemill"):
            with psycopg.connect(host="127.0.0.1", port=cluster.port, user=role, dbname=role) as connection:
                connection.execute("CREATE TABLE own (id int)")
            other = {"prefect": "slidemill", "slidemill": "prefect"}[role]
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                psycopg.connect(host="127.0.0.1", port=cluster.port, user=role, dbname=other)
    finally:
        cluster.remove()


# --- Prefect


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_deployments_by_prefect(tmp_path: Path) -> None:
    """On a real server `prefect deploy --all` makes what `slidemill config deploy` makes, before and after it."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    environment = quiet_environment(PREFECT_HOME=str(tmp_path / "home"), PREFECT_API_URL=api)
    prefect = str(BIN / "prefect")

    def done(*command: str) -> None:
        result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    server = [prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(server, environment, tmp_path / "server.log"):
        wait_for(lambda: answers(f"{api}/ready"), 180.0)
        template = KUBERNETES / "base-job-template.json"
        create = (prefect, "--no-prompt", "work-pool", "create")
        done(*create, SLIDE_POOL, "--type", "kubernetes", "--base-job-template", str(template))
        done(*create, CONTROL_POOL, "--type", "process")
        for queue in ("interactive", "scheduled", "archive"):
            done(prefect, "--no-prompt", "work-queue", "create", queue, "--pool", SLIDE_POOL)
        done(prefect, "--no-prompt", "deploy", "--all", "--prefect-file", str(DEPLOY / "prefect.yaml"))
        by_prefect = deployments(api)
        pool = httpx.get(f"{api}/work_pools/{SLIDE_POOL}").json()
        done(str(BIN / "slidemill"), "config", "deploy")
        assert deployments(api) == by_prefect
        done(prefect, "--no-prompt", "deploy", "--all", "--prefect-file", str(DEPLOY / "prefect.yaml"))
        assert deployments(api) == by_prefect
        assert httpx.get(f"{api}/work_pools/{SLIDE_POOL}").json()["type"] == "kubernetes"
    assert by_prefect == {
        CONVERT: (SLIDE_POOL, "scheduled", "flows.engine.runs.convert_slide", []),
        SCAN: (CONTROL_POOL, "default", "flows.engine.runs.scan", [60.0]),
        RECONCILE: (CONTROL_POOL, "default", "flows.engine.runs.reconcile", [60.0]),
    }
    assert pool["base_job_template"]["job_configuration"] == json.loads(template.read_text())["job_configuration"]


def deployments(api: str) -> dict[str, tuple[str, str, str, list[float]]]:
    """By flow: pool, queue, entry point, seconds between runs. None may have a step that fetches code."""
    found = {}
    for one in httpx.post(f"{api}/deployments/filter", json={}).json():
        assert not one["pull_steps"]
        flow = httpx.get(f"{api}/flows/{one['flow_id']}").json()["name"]
        intervals = [schedule["schedule"]["interval"] for schedule in one["schedules"] if schedule["active"]]
        found[flow] = (one["work_pool_name"], one["work_queue_name"], one["entrypoint"], intervals)
    return found
