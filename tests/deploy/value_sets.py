"""Sets of values that many tests go through, from the least to everything at once."""

from charts import SERVERS, merged

POD = {
    "initContainers": [{"name": "init", "image": "busybox:1"}],
    "sidecars": [{"name": "side", "image": "busybox:1"}],
    "volumes": [{"name": "graphs", "emptyDir": {}}],
    "volumeMounts": [{"name": "graphs", "mountPath": "/graphs"}],
    "env": [{"name": "MODEL", "value": "small"}],
    "envFrom": [{"secretRef": {"name": "keys"}}],
    "priorityClassName": "high",
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "agents", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
}

GRAPHS = {
    "config": "/app/langgraph.json",
    "python": "/opt/venv",
    "allowUnsupported": True,
    "demo": True,
    "executor": {"processes": 2, "maxRuns": 8, "memoryMiB": 1_500_000},
}

TRACING = {
    "endpoint": "http://collector.tracing.svc:4318",
    "headers": {"secretName": "tracing"},
    "serviceName": "agents",
    "sampler": "parentbased_traceidratio",
    "samplerArg": "0.1",
}

EVERYTHING = {
    "tracing": TRACING,
    "retention": {
        "threadMinutes": 43200,
        "threadStrategy": "keep_latest",
        "runDays": 30.5,
        "intervalSeconds": 300,
    },
    "commonLabels": {"team": "agents"},
    "commonAnnotations": {"owner": "agents"},
    "imagePullSecrets": [{"name": "pull"}],
    "graphs": GRAPHS,
    "database": {"password": {"secretName": "db"}, "tlsCA": {"enabled": True, "secretName": "db-ca"}},
    "nats": {
        "urls": ["tls://nats-0:4222", "tls://nats-1:4222"],
        "domain": "hub",
        "inboxPrefix": "_INBOX_all",
        "creds": {"secretName": "nats"},
        "tls": {"secretName": "nats-tls"},
        "tlsCA": {"enabled": True, "configMapName": "nats-ca"},
        "requireTLS": True,
        "tlsFirst": True,
        "streams": {"manage": False, "replicas": 3, "storage": "memory", "maxMiB": 1_000_000},
    },
    "gateway": {
        **POD,
        "autoscaling": {"enabled": True, "memoryPercent": 80},
        "endEvent": True,
        "stoppedRuns": {"partial": "off", "toolCalls": "keep", "pendingInput": "drop", "profile": "strict"},
    },
    "worker": {**POD, "keda": {"enabled": True}},
    "migration": {"database": {"existingSecret": "owner", "secretKey": "uri"}},
    "ingress": {"enabled": True, "hosts": ["agents.example.com"], "tls": [{"secretName": "tls"}]},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "edge"}], "hostnames": ["agents.example.com"]},
    "networkPolicy": {"enabled": True, "clients": [{"podSelector": {}}]},
    "metrics": {
        "serviceMonitor": {"enabled": True},
        "rules": {"enabled": True},
        "dashboards": {"enabled": True},
    },
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-x"}}
    ],
}

SETS = {
    "least": SERVERS,
    "everything": merged(SERVERS, EVERYTHING),
    "bundled": {"bundled": {"postgres": {"enabled": True, "password": "a/b"}, "nats": {"enabled": True}}},
    "in clear text": {
        "metrics": {"podMonitor": {"enabled": True}},
        "database": {"url": "postgres://user:secret@db/runloom"},
        "nats": {"urls": ["nats://nats:4222"], "creds": {"contents": "seed"}},
    },
    "a user for each role": merged(
        SERVERS,
        {"nats": {"streams": {"manage": False}}},
        {
            "gateway": {
                "nats": {"user": {"name": "gateway", "secretName": "a"}, "inboxPrefix": "_INBOX_gateway"}
            }
        },
        {
            "worker": {
                "nats": {
                    "nkey": {"contents": "SUAX"},
                    "inboxPrefix": "_INBOX_worker",
                    "apiPrefix": "hub.js",
                }
            }
        },
        {"tests": {"nats": {"token": {"secretName": "t"}, "streams": {"manage": True}}}},
    ),
    "one of each": merged(SERVERS, {"gateway": {"replicas": 1}, "worker": {"replicas": 1}}),
    "by Prometheus": merged(
        SERVERS,
        {"worker": {"keda": {"enabled": True, "trigger": "prometheus", "prometheusAddress": "http://p"}}},
    ),
    "migrated at start": merged(
        SERVERS, {"migration": {"mode": "start"}, "worker": {"autoscaling": {"enabled": True}}}
    ),
    "over IPv6": merged(
        SERVERS, {"listen": "::", "gateway": {"service": {"ipFamilyPolicy": "PreferDualStack"}}}
    ),
}
