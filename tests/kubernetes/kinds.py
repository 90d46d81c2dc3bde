"""The kinds that are not of Kubernetes itself, as far as they are used here: any other name is an error.

https://keda.sh/docs/latest/reference/scaledobject-spec/, https://keda.sh/docs/latest/concepts/authentication/,
https://www.rabbitmq.com/kubernetes/operator/using-operator
"""

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


def record(*required: str, **members: Schema) -> Schema:
    """An object with these members and no other."""
    return {"type": "object", "properties": members, "required": list(required), "additionalProperties": False}


def several(items: Schema) -> Schema:
    """At least one."""
    return {"type": "array", "items": items, "minItems": 1}


def kind(version: str, name: str, spec: Schema) -> Schema:
    """A document of a kind."""
    metadata = record("name", name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS)
    constants = {"apiVersion": {"const": version}, "kind": {"const": name}}
    return record("apiVersion", "kind", "metadata", "spec", metadata=metadata, spec=spec, **constants)


_POLICY = record("type", "value", "periodSeconds", type={"enum": ["Pods", "Percent"]}, value=COUNT, periodSeconds=COUNT)
_FALLBACKS = ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]
_RULES = record(stabilizationWindowSeconds=COUNT, selectPolicy=TEXT, policies=several(_POLICY))
_SCALER = record(name=TEXT, behavior=record(scaleUp=_RULES, scaleDown=_RULES))
_TRIGGER = record(
    "type", "metadata", type={"const": "rabbitmq"}, name=TEXT, authenticationRef=record("name", name=TEXT, kind=TEXT),
    metadata=record(
        "queueName", "mode", "value", queueName=TEXT, mode={"enum": ["QueueLength", "MessageRate"]},
        # All are texts, numbers as well.
        value={"type": "string", "pattern": "^[0-9.]+$"}, activationValue=TEXT,
        protocol={"enum": ["auto", "amqp", "http"]}, vhostName=TEXT, timeout=TEXT,
    ),
)  # fmt: skip
_RESOURCES = record(requests=TEXTS, limits=TEXTS)
_TERM = record("topologyKey", topologyKey=TEXT, labelSelector=record(matchLabels=TEXTS))
_MOUNT = record("name", "mountPath", name=TEXT, mountPath=TEXT, readOnly=FLAG)
_VOLUME = record("name", "secret", name=TEXT, secret=record("secretName", secretName=TEXT))
_PODS = record(
    containers=several(record("name", name=TEXT, volumeMounts=several(_MOUNT))), volumes=several(_VOLUME)
)  # fmt: skip

KINDS = {
    "ScaledObject": kind(
        "keda.sh/v1alpha1", "ScaledObject",
        record(
            "scaleTargetRef", "triggers",
            scaleTargetRef=record("name", name=TEXT, kind=TEXT, apiVersion=TEXT), minReplicaCount=COUNT,
            maxReplicaCount=COUNT, idleReplicaCount=COUNT, pollingInterval=COUNT, cooldownPeriod=COUNT,
            fallback=record(
                "failureThreshold", "replicas", failureThreshold=COUNT, replicas=COUNT, behavior={"enum": _FALLBACKS}
            ),
            advanced=record(restoreToOriginalReplicaCount=FLAG, horizontalPodAutoscalerConfig=_SCALER),
            triggers=several(_TRIGGER),
        ),
    ),
    "TriggerAuthentication": kind(
        "keda.sh/v1alpha1", "TriggerAuthentication",
        record(
            "secretTargetRef",
            secretTargetRef=several(record("parameter", "name", "key", parameter=TEXT, name=TEXT, key=TEXT)),
        ),
    ),
    "RabbitmqCluster": kind(
        "rabbitmq.com/v1beta1", "RabbitmqCluster",
        record(
            "replicas", replicas=COUNT, image=TEXT, persistence=record(storage=TEXT, storageClassName=TEXT),
            resources=_RESOURCES, tls=record(secretName=TEXT, caSecretName=TEXT, disableNonTLSListeners=FLAG),
            rabbitmq=record(additionalConfig=TEXT, advancedConfig=TEXT, additionalPlugins={"type": "array"}),
            affinity=record(
                podAntiAffinity=record(requiredDuringSchedulingIgnoredDuringExecution=several(_TERM))
            ),
            terminationGracePeriodSeconds=COUNT,
            override=record(statefulSet=record(spec=record(template=record(spec=_PODS)))),
        ),
    ),
}  # fmt: skip
