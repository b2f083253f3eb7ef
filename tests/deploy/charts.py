"""Names of values in the Helm charts prefect-server and prefect-worker, as far as deploy/kubernetes uses them.

From the charts' values.yaml in PrefectHQ/prefect-helm as of 2026 (releases from 2026.6 on have all of them).
"""

from __future__ import annotations


def _paths(text: str) -> frozenset[str]:
    """`a.b{c,d}` stands for a, a.b, a.b.c and a.b.d."""
    found: set[str] = set()
    for word in text.split():
        start, _, rest = word.partition("{")
        for name in rest.rstrip("}").split(",") if rest else [""]:
            parts = f"{start}{name}".strip(".").split(".")
            found |= {".".join(parts[: i + 1]) for i in range(len(parts))}
    return frozenset(found)


_PROBE = "{enabled,config.initialDelaySeconds,config.periodSeconds,config.timeoutSeconds,config.failureThreshold}"
_PART = "{env,resources,podSecurityContext,containerSecurityContext}"

SERVER_VALUES = _paths(f"""
    global.prefect.image.{{repository,prefectTag}} global.prefect.env
    server.{{replicaCount,basicAuth.enabled,basicAuth.existingSecret}}
    server.uiConfig.{{prefectUiApiUrl,prefectUiStaticDirectory}}
    server.readinessProbe.{_PROBE} server.livenessProbe.{_PROBE} server.{_PART}
    migrations.{{enabled,entrypoint,resources,podSecurityContext,securityContext}}
    backgroundServices.{{runAsSeparateDeployment,messaging.broker,messaging.cache}} backgroundServices.{_PART}
    sqlite.enabled postgresql.enabled redis.enabled secret.{{create,name}}
    ingress.{{enabled,className,extraTls,annotations}} ingress.host.{{hostname,path,pathType}}
""")

WORKER_VALUES = _paths(f"""
    fullnameOverride worker.image.{{repository,prefectTag}} worker.{{apiConfig,replicaCount}}
    worker.selfHostedServerApiConfig.apiUrl
    worker.config.{{workPool,type,limit,queryInterval,installPolicy,http2}}
    worker.{{extraEnvVars,extraEnvVarsSecret,extraVolumes,extraVolumeMounts}}
    worker.livenessProbe.{_PROBE} worker.{{resources,podSecurityContext,containerSecurityContext}}
""")
