"""The arrows: which module may import which. A module that is not listed fails."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OWN = ("nowait", "server", "tasks", "deploy", "tests")

# Standard library apart, these are all imports of each module.
ALLOWED: dict[str, set[str]] = {
    "nowait": {"nowait.bridge", "nowait.errors", "nowait.messages.encoded", "nowait.messages.stream"},
    "nowait.amqp": set(),
    "nowait.amqp.frames": set(),
    "nowait.amqp.methods": {"nowait.amqp.frames", "nowait.amqp.properties", "nowait.budget"},
    "nowait.amqp.properties": set(),
    "nowait.background": set(),
    "nowait.bridge": {"nowait.bridge.bridge", "nowait.bridge.call", "nowait.bridge.consumer", "nowait.bridge.observer"},
    "nowait.bridge.backlog": set(),
    "nowait.bridge.bridge": {
        "celery", "nowait", "nowait.amqp", "nowait.amqp.methods", "nowait.bridge.call", "nowait.bridge.calls",
        "nowait.bridge.consumer", "nowait.bridge.consumers", "nowait.bridge.observer", "nowait.bridge.publisher",
        "nowait.bridge.reply_queue", "nowait.bridge.streams", "nowait.bridge.subscription", "nowait.broker",
        "nowait.budget", "nowait.errors", "nowait.link.link", "nowait.link.opener", "nowait.link.supervisor",
        "nowait.messages.encoder", "nowait.messages.limits", "nowait.messages.outbound", "nowait.messages.reply",
        "nowait.messages.stream", "nowait.topology",
    },
    "nowait.bridge.call": {"nowait.bridge.backlog", "nowait.messages.outbound"},
    "nowait.bridge.calls": {
        "nowait.amqp.methods", "nowait.bridge.backlog", "nowait.bridge.confirms", "nowait.bridge.probe",
        "nowait.budget", "nowait.errors", "nowait.messages.limits", "nowait.messages.reply",
    },
    "nowait.bridge.channels": {"nowait.errors"},
    "nowait.bridge.confirms": set(),
    "nowait.bridge.consumer": {"nowait.amqp", "nowait.amqp.methods", "nowait.errors"},
    "nowait.bridge.consumers": {
        "nowait.amqp", "nowait.bridge.channels", "nowait.bridge.consumer", "nowait.bridge.shared", "nowait.errors",
    },
    "nowait.bridge.observer": set(),
    "nowait.bridge.parts": {"nowait.amqp.methods", "nowait.errors", "nowait.messages.part"},
    "nowait.bridge.probe": set(),
    "nowait.bridge.publisher": {
        "nowait", "nowait.amqp", "nowait.bridge.call", "nowait.bridge.channels", "nowait.bridge.confirms",
        "nowait.bridge.shared", "nowait.errors", "nowait.link.connection", "nowait.messages.outbound",
    },
    "nowait.bridge.reply_queue": {"amqp"},
    "nowait.bridge.shared": {
        "nowait", "nowait.amqp", "nowait.bridge.channels", "nowait.budget", "nowait.errors", "nowait.link.connection",
        "nowait.link.opener", "nowait.link.opening",
    },
    "nowait.bridge.streams": {
        "amqp", "nowait.amqp", "nowait.amqp.methods", "nowait.bridge.call", "nowait.bridge.parts", "nowait.errors",
        "nowait.link.link", "nowait.link.opener", "nowait.messages.part", "nowait.topology",
    },
    "nowait.bridge.subscription": {"nowait.bridge.consumers", "nowait.messages.stream"},
    "nowait.broker": {"celery"},
    "nowait.budget": set(),
    "nowait.database_url": set(),
    "nowait.deadline": {"celery"},
    "nowait.errors": set(),
    "nowait.formats": set(),
    "nowait.garbage": set(),
    "nowait.jobs": set(),
    "nowait.jobs.__main__": {
        "nowait.formats", "nowait.jobs.archive", "nowait.jobs.migrations", "nowait.jobs.table", "nowait.settings",
    },
    "nowait.jobs.archive": {
        "sqlalchemy", "nowait.database_url", "nowait.jobs", "nowait.jobs.connection", "nowait.jobs.table",
    },
    "nowait.jobs.connection": {"sqlalchemy", "nowait.database_url", "nowait.jobs.table"},
    "nowait.jobs.ids": set(),
    "nowait.jobs.migrations": {
        "alembic", "sqlalchemy", "nowait.database_url", "nowait.jobs.connection", "nowait.jobs.schema",
    },
    "nowait.jobs.migrations.env": {"alembic", "nowait.jobs.schema"},
    "nowait.jobs.migrations.versions": set(),
    "nowait.jobs.migrations.versions.r0001_jobs": {"alembic"},
    "nowait.jobs.migrations.versions.r0002_schedules_and_webhooks_of_jobs": {"alembic", "sqlalchemy"},
    "nowait.jobs.migrations.versions.r0003_schedules": {"alembic"},
    "nowait.jobs.migrations.versions.r0004_deliveries": {"alembic"},
    "nowait.jobs.migrations.versions.r0005_traces_of_jobs": {"alembic", "sqlalchemy"},
    "nowait.jobs.protocol": {"sqlalchemy", "nowait.jobs.table"},
    "nowait.jobs.retry": set(),
    "nowait.jobs.schema": {"sqlalchemy"},
    "nowait.jobs.table": {"sqlalchemy"},
    "nowait.link": set(),
    "nowait.link.connection": {
        "nowait.amqp", "nowait.amqp.frames", "nowait.budget", "nowait.link.opener", "nowait.link.stream",
    },
    "nowait.link.depths": {"amqp", "kombu", "nowait.link.opener", "nowait.tls"},
    "nowait.link.link": {
        "nowait.amqp", "nowait.budget", "nowait.link.connection", "nowait.link.opener", "nowait.messages.outbound",
    },
    "nowait.link.opener": {"amqp", "kombu", "nowait.tls"},
    "nowait.link.opening": set(),
    "nowait.link.stream": set(),
    "nowait.link.supervisor": {
        "nowait.amqp.methods", "nowait.budget", "nowait.link.link", "nowait.link.opener", "nowait.link.opening",
    },
    "nowait.logs": {"nowait"},
    "nowait.messages": set(),
    "nowait.messages.encoded": {"nowait.budget"},
    "nowait.messages.encoder": {
        "celery", "kombu", "nowait.amqp", "nowait.deadline", "nowait.messages.outbound", "nowait.messages.template",
    },
    "nowait.messages.headers": {"amqp"},
    "nowait.messages.limits": set(),
    "nowait.messages.outbound": set(),
    "nowait.messages.part": set(),
    "nowait.messages.reply": {
        "nowait.amqp.methods", "nowait.errors", "nowait.messages.encoded", "nowait.messages.headers",
    },
    "nowait.messages.stream": {"nowait.amqp.methods", "nowait.amqp.properties", "nowait.messages.headers"},
    "nowait.messages.template": {"amqp", "nowait.amqp.properties", "nowait.messages.outbound"},
    "nowait.messages.validation": {"celery", "nowait.deadline", "nowait.messages.limits"},
    "nowait.metrics": set(),
    "nowait.metrics.exposition": {"prometheus_client", "nowait", "nowait.settings"},
    "nowait.metrics.shared_values": {"prometheus_client"},
    "nowait.metrics.tally": {"prometheus_client"},
    "nowait.rows": {"msgspec"},
    "nowait.schedules": set(),
    "nowait.schedules.decisions": {
        "nowait.jobs.ids", "nowait.jobs.table", "nowait.schedules.protocol", "nowait.schedules.ticks",
    },
    "nowait.schedules.protocol": {"sqlalchemy", "nowait.jobs.protocol", "nowait.jobs.table"},
    "nowait.schedules.ticks": {"cronsim"},
    "nowait.settings": {"nowait.database_url", "nowait.tracing"},
    "nowait.systemd": set(),
    "nowait.testing": {"nowait.testing.bridge"},
    "nowait.testing.bridge": {
        "nowait.bridge.call", "nowait.bridge.calls", "nowait.bridge.consumer", "nowait.budget", "nowait.errors",
        "nowait.messages.encoded", "nowait.messages.limits", "nowait.messages.part", "nowait.messages.stream",
        "nowait.testing.queues",
    },
    "nowait.testing.queues": {
        "nowait.amqp.methods", "nowait.amqp.properties", "nowait.bridge.consumer", "nowait.errors",
        "nowait.messages.stream",
    },
    "nowait.tls": {"kombu"},
    "nowait.topology": {"kombu"},
    "nowait.tracing": {"nowait.tracing.otel"},
    "nowait.tracing.otel": {"opentelemetry", "nowait.tracing"},
    "nowait.worker": {
        "nowait.worker.backend", "nowait.worker.configure", "nowait.worker.consumer", "nowait.worker.streaming",
    },
    "nowait.worker.answers": {
        "celery", "kombu", "nowait.messages.validation", "nowait.topology", "nowait.worker.publisher",
        "nowait.worker.replies",
    },
    "nowait.worker.backend": {
        "celery", "nowait.amqp.properties", "nowait.broker", "nowait.messages.outbound", "nowait.topology",
        "nowait.worker.outbox", "nowait.worker.publisher", "nowait.worker.replies",
    },
    "nowait.worker.configure": {"celery", "nowait.tls", "nowait.topology"},
    "nowait.worker.consumer": {
        "amqp", "celery", "kombu", "nowait.broker", "nowait.messages.validation", "nowait.systemd", "nowait.topology",
        "nowait.worker.dead_letters", "nowait.worker.frames", "nowait.worker.lean", "nowait.worker.request",
    },
    "nowait.worker.dead_letters": {
        "amqp", "celery", "kombu", "nowait.messages.limits", "nowait.messages.validation", "nowait.topology",
        "nowait.worker.answers", "nowait.worker.publisher",
    },
    "nowait.worker.delayed_delivery": {"celery", "nowait.topology"},
    "nowait.worker.events": set(),
    "nowait.worker.frames": {"nowait.amqp.frames"},
    "nowait.worker.hub": set(),
    "nowait.worker.intake": {
        "amqp", "celery", "kombu", "nowait.amqp.methods", "nowait.budget", "nowait.link.link", "nowait.link.opener",
        "nowait.link.supervisor", "nowait.messages.limits", "nowait.worker.unsettled",
    },
    "nowait.worker.lean": {
        "celery", "kombu", "nowait.messages.validation", "nowait.worker.events", "nowait.worker.hub",
        "nowait.worker.intake", "nowait.worker.pools", "nowait.worker.reception", "nowait.worker.request",
        "nowait.worker.task_consumer",
    },
    "nowait.worker.outbox": {"nowait.messages.outbound"},
    "nowait.worker.pools": {"celery", "nowait.worker.hub", "nowait.worker.request"},
    "nowait.worker.publisher": {"amqp", "celery", "nowait.deadline"},
    "nowait.worker.reception": {
        "celery", "kombu", "nowait.amqp.methods", "nowait.messages.headers", "nowait.messages.validation",
        "nowait.worker.events", "nowait.worker.pools", "nowait.worker.request", "nowait.worker.unsettled",
    },
    "nowait.worker.replies": {
        "amqp", "kombu", "nowait.amqp", "nowait.messages.encoded", "nowait.messages.limits", "nowait.messages.reply",
        "nowait.topology",
    },
    "nowait.worker.request": {
        "billiard", "celery", "kombu", "nowait.amqp.methods", "nowait.deadline", "nowait.messages.outbound",
        "nowait.worker.events", "nowait.worker.outbox", "nowait.worker.unsettled",
    },
    "nowait.worker.streaming": {
        "amqp", "celery", "nowait.deadline", "nowait.messages.limits", "nowait.messages.part", "nowait.topology",
        "nowait.worker.publisher",
    },
    "nowait.worker.task_consumer": {"kombu", "nowait.worker.intake"},
    "nowait.worker.unsettled": {"nowait.amqp.methods", "nowait.messages.outbound"},
    "server": set(),
    "server.__main__": {
        "celery", "nowait", "nowait.bridge", "nowait.logs", "nowait.messages.limits", "nowait.systemd",
        "nowait.topology", "server", "server.app", "server.keys", "server.keys.file", "server.lifecycle",
        "server.log_filters", "server.metrics.exposition", "server.metrics.metrics", "server.observer",
        "server.processes", "server.settings", "server.tls", "server.tracing",
    },
    "server.answers": set(),
    "server.answers.answer": {"server.answers.key"},
    "server.answers.flights": set(),
    "server.answers.kept": {"cachetools", "nowait.budget", "server.answers.answer", "server.answers.key"},
    "server.answers.key": {"server.query"},
    "server.answers.shared": {
        "nowait", "nowait.bridge", "nowait.deadline", "nowait.errors", "nowait.messages.encoded",
        "server.answers.answer", "server.answers.flights", "server.answers.key",
    },
    "server.app": {
        "tornado", "nowait.link.depths", "nowait.topology", "server.answers.kept", "server.answers.shared",
        "server.bridge", "server.catalogue", "server.comparison", "server.figures.instruments", "server.figures.lag",
        "server.http.access_log", "server.http.context", "server.http.handler", "server.http.in_flight",
        "server.http.limits", "server.http.route", "server.jobs.connections", "server.jobs.database",
        "server.jobs.kind", "server.jobs.model", "server.jobs.publisher", "server.jobs.relay", "server.jobs.watcher",
        "server.keys.file", "server.keys.gate", "server.keys.loader", "server.live.pulse", "server.observer",
        "server.query", "server.queues.queues", "server.routes", "server.schedules.database", "server.schedules.model",
        "server.settings", "server.topics.log", "server.topics.stream", "server.webhooks", "server.webhooks.addresses",
        "server.webhooks.deliverer", "server.webhooks.resolver", "server.webhooks.sender", "server.webhooks.signing",
    },
    "server.assets": set(),
    "server.bridge": {"nowait.bridge", "nowait.budget", "nowait.messages.stream"},
    "server.catalogue": {"nowait", "nowait.errors"},
    "server.comparison": {"sqlalchemy", "nowait.database_url", "nowait.messages.encoded", "nowait.rows"},
    "server.descriptors": set(),
    "server.figures": set(),
    "server.figures.instruments": {
        "nowait.link.depths", "server.bridge", "server.figures.lag", "server.figures.shared",
    },
    "server.figures.lag": set(),
    "server.figures.shared": set(),
    "server.garbage": {"nowait"},
    "server.http": set(),
    "server.http.accept": set(),
    "server.http.access": {"server.keys.scopes"},
    "server.http.access_log": {"tornado", "server.http.route", "server.observer"},
    "server.http.admission": {
        "server.http", "server.http.access", "server.http.problem", "server.http.proxies", "server.keys.gate",
        "server.keys.keyring", "server.keys.quota", "server.keys.scopes",
    },
    "server.http.answers": {
        "nowait", "server.answers.answer", "server.answers.key", "server.answers.shared", "server.http.cache_control",
        "server.http.tasks",
    },
    "server.http.body": {"tornado", "server"},
    "server.http.cache_control": set(),
    "server.http.connections": set(),
    "server.http.context": {
        "server.answers.kept", "server.answers.shared", "server.bridge", "server.catalogue", "server.http.hosts",
        "server.http.in_flight", "server.http.origins", "server.http.proxies", "server.jobs.kind", "server.jobs.model",
        "server.jobs.request", "server.jobs.watcher", "server.keys.gate", "server.query", "server.queues.queues",
        "server.schedules.model", "server.topics.log",
    },
    "server.http.event_stream": {"server.http.handler", "server.keys.quota"},
    "server.http.events": {
        "nowait.errors", "server.http.event_stream", "server.http.jobs", "server.http.problem", "server.jobs",
        "server.jobs.model", "server.jobs.watcher",
    },
    "server.http.files": {
        "tornado", "server.assets", "server.http.accept", "server.http.context", "server.http.handler",
    },
    "server.http.handler": {
        "tornado", "nowait.deadline", "nowait.errors", "server.http", "server.http.access", "server.http.admission",
        "server.http.context", "server.http.limits", "server.http.proxies", "server.http.waits", "server.keys.client",
        "server.tracing",
    },
    "server.http.hosts": set(),
    "server.http.in_flight": {"nowait.errors"},
    "server.http.jobs": {
        "tornado", "nowait.deadline", "nowait.errors", "nowait.messages.encoded", "server.http", "server.http.context",
        "server.http.handler", "server.http.problem", "server.jobs", "server.jobs.kind", "server.jobs.model",
        "server.jobs.watcher",
    },
    "server.http.limits": {"tornado"},
    "server.http.listener": {
        "tornado", "server.http.connections", "server.http.opening", "server.http.proxies",
        "server.http.proxy_protocol", "server.http.request_stream",
    },
    "server.http.opening": set(),
    "server.http.origins": set(),
    "server.http.page_origins": {
        "tornado", "server.http", "server.http.access", "server.http.context", "server.http.sites",
    },
    "server.http.pages": {"tornado"},
    "server.http.preconditions": set(),
    "server.http.prefer": set(),
    "server.http.problem": {"tornado", "nowait"},
    "server.http.proxies": set(),
    "server.http.proxy_protocol": {"proxyprotocol"},
    "server.http.request_stream": {"tornado", "server.http.limits"},
    "server.http.route": {"tornado"},
    "server.http.schedules": {
        "tornado", "nowait.schedules.ticks", "server.http.handler", "server.http.jobs", "server.http.preconditions",
        "server.schedules", "server.schedules.model",
    },
    "server.http.sites": {"tornado"},
    "server.http.sockets": {"tornado", "server.http.handler"},
    "server.http.streams": {
        "tornado", "nowait.errors", "server.http.handler", "server.http.tasks", "server.keys.quota",
    },
    "server.http.tasks": {
        "nowait.bridge", "nowait.errors", "nowait.messages.encoded", "server.http.handler", "server.http.problem",
    },
    "server.http.topics": {
        "tornado", "server.http.event_stream", "server.http.problem", "server.topics.event", "server.topics.log",
    },
    "server.http.waits": {"tornado", "nowait.messages.encoded", "server.http.context", "server.http.page_origins"},
    "server.jobs": set(),
    "server.jobs.batches": {"nowait", "server.jobs.model"},
    "server.jobs.connections": {
        "sqlalchemy", "nowait.database_url", "nowait.jobs", "nowait.jobs.table", "server.jobs.model",
    },
    "server.jobs.database": {
        "sqlalchemy", "nowait.jobs", "nowait.jobs.table", "server.jobs", "server.jobs.batches",
        "server.jobs.connections", "server.jobs.model", "server.jobs.quota",
    },
    "server.jobs.decisions": {
        "sqlalchemy", "nowait.jobs", "nowait.jobs.protocol", "nowait.jobs.retry", "nowait.jobs.table",
    },
    "server.jobs.document": {"nowait.jobs.table", "server.jobs.model"},
    "server.jobs.kind": {"nowait.jobs.retry", "nowait.jobs.table", "server.parameters"},
    "server.jobs.looks": {"nowait.jobs.retry", "server.jobs.model"},
    "server.jobs.model": {"nowait.jobs.retry", "nowait.jobs.table"},
    "server.jobs.publisher": {
        "nowait.bridge", "nowait.jobs.protocol", "server.bridge", "server.jobs.decisions", "server.jobs.model",
    },
    "server.jobs.quota": set(),
    "server.jobs.relay": {
        "sqlalchemy", "nowait.bridge", "nowait.errors", "nowait.jobs", "server.jobs.connections",
        "server.jobs.decisions", "server.jobs.looks", "server.jobs.publisher",
    },
    "server.jobs.request": {"nowait.formats", "nowait.jobs.retry", "server.jobs.kind", "server.jobs.model"},
    "server.jobs.rows": {
        "sqlalchemy", "nowait.jobs", "nowait.jobs.protocol", "nowait.jobs.retry", "nowait.jobs.table",
        "server.jobs.model",
    },
    "server.jobs.schemas": {
        "nowait.jobs.retry", "nowait.jobs.table", "server.jobs.kind", "server.jobs.model", "server.jobs.request",
        "server.openapi.operation", "server.openapi.shared",
    },
    "server.jobs.watcher": {"nowait", "server.jobs.model"},
    "server.keys": set(),
    "server.keys.client": {"server.keys.limits", "server.keys.quota", "server.keys.scopes"},
    "server.keys.commands": {
        "nowait.settings", "server.keys.file", "server.keys.key", "server.keys.limits", "server.keys.scopes",
        "server.keys.token",
    },
    "server.keys.file": {"server.keys.key", "server.stamps"},
    "server.keys.followers": {"nowait", "server.keys.client"},
    "server.keys.gate": {
        "server.keys.client", "server.keys.followers", "server.keys.keyring", "server.keys.pace", "server.keys.quota",
    },
    "server.keys.key": {"nowait.formats", "server.keys.limits", "server.keys.scopes"},
    "server.keys.keyring": {"server.keys.key", "server.keys.limits", "server.keys.scopes", "server.keys.token"},
    "server.keys.limits": set(),
    "server.keys.loader": {"server.keys.file", "server.keys.gate", "server.keys.keyring"},
    "server.keys.pace": set(),
    "server.keys.quota": {"server.keys.limits"},
    "server.keys.scopes": set(),
    "server.keys.token": set(),
    "server.lifecycle": {
        "tornado", "nowait.bridge", "nowait.errors", "nowait.systemd", "server", "server.app",
        "server.http.connections", "server.http.hosts", "server.http.limits", "server.http.listener",
        "server.http.proxies", "server.reloader", "server.settings", "server.tls",
    },
    "server.live": set(),
    "server.live.merged": set(),
    "server.live.pulse": {"nowait", "server.http.event_stream"},
    "server.log_filters": {"server.keys.token"},
    "server.metrics": set(),
    "server.metrics.calls": {"prometheus_client", "nowait.bridge", "nowait.metrics.tally"},
    "server.metrics.events": {
        "prometheus_client", "nowait.errors", "nowait.metrics.tally", "server.http.route", "server.metrics.calls",
        "server.webhooks.outcome",
    },
    "server.metrics.exposition": {"prometheus_client", "nowait.metrics", "nowait.settings", "server.lifecycle"},
    "server.metrics.metrics": {
        "nowait.settings", "server.figures.instruments", "server.jobs.connections", "server.lifecycle",
        "server.metrics.calls", "server.metrics.events", "server.metrics.exposition", "server.metrics.moment",
        "server.metrics.statements", "server.metrics.stored", "server.metrics.turn",
    },
    "server.metrics.moment": {"prometheus_client", "nowait.bridge", "nowait.link.depths", "server.lifecycle"},
    "server.metrics.statements": {"sqlalchemy", "nowait.jobs.protocol", "nowait.jobs.table"},
    "server.metrics.stored": {
        "prometheus_client", "sqlalchemy", "nowait.jobs.table", "server.jobs.connections", "server.jobs.model",
    },
    "server.metrics.turn": set(),
    "server.missing": {"nowait.errors", "server.bridge"},
    "server.names": set(),
    "server.observer": set(),
    "server.openapi": set(),
    "server.openapi.current": {
        "server.assets", "server.openapi.document", "server.openapi.offer", "server.openapi.operation",
    },
    "server.openapi.document": {
        "server.http.access", "server.http.problem", "server.openapi.offer", "server.openapi.operation",
        "server.openapi.shared",
    },
    "server.openapi.offer": {"server.jobs.kind", "server.query"},
    "server.openapi.operation": set(),
    "server.openapi.shared": {
        "server.http.pages", "server.http.preconditions", "server.http.problem", "server.openapi.operation",
    },
    "server.parameters": {"jsonschema", "nowait.formats"},
    "server.processes": set(),
    "server.query": {"server.parameters"},
    "server.queues": set(),
    "server.queues.line": set(),
    "server.queues.queues": {
        "nowait.bridge", "nowait.bridge.call", "nowait.errors", "nowait.topology", "server.bridge", "server.missing",
        "server.queues.line",
    },
    "server.queues.session": {"nowait.amqp.methods", "server"},
    "server.reloader": set(),
    "server.routes": set(),
    "server.routes.demo": {
        "nowait.errors", "nowait.messages.encoded", "server.comparison", "server.http.access", "server.http.context",
        "server.http.handler", "server.openapi.offer", "server.openapi.operation", "server.routes.users",
    },
    "server.routes.docs": {
        "server", "server.catalogue", "server.http.access", "server.http.context", "server.http.files",
        "server.keys.scopes", "server.openapi.current", "server.openapi.offer", "server.openapi.operation",
        "server.openapi.shared",
    },
    "server.routes.health": {
        "nowait", "server.http.access", "server.http.context", "server.http.handler", "server.openapi.offer",
        "server.openapi.operation",
    },
    "server.routes.jobs": {
        "tornado", "nowait.jobs.ids", "nowait.jobs.table", "server.http.access", "server.http.body",
        "server.http.context", "server.http.events", "server.http.handler", "server.http.jobs", "server.http.pages",
        "server.jobs", "server.jobs.model", "server.jobs.request", "server.openapi.offer", "server.openapi.operation",
        "server.openapi.shared", "server.parameters",
    },
    "server.routes.live": {
        "tornado", "server.http.access", "server.http.context", "server.http.event_stream", "server.http.jobs",
        "server.http.problem", "server.http.topics", "server.jobs", "server.jobs.model", "server.jobs.watcher",
        "server.live.merged", "server.live.pulse", "server.openapi.offer", "server.openapi.operation",
        "server.openapi.shared", "server.topics.event", "server.topics.log",
    },
    "server.routes.page": {
        "server", "server.http.access", "server.http.context", "server.http.files", "server.openapi.offer",
        "server.openapi.operation", "server.openapi.shared",
    },
    "server.routes.queries": {
        "tornado", "nowait.errors", "server.answers.key", "server.http", "server.http.access", "server.http.answers",
        "server.http.body", "server.http.context", "server.http.handler", "server.http.streams", "server.http.tasks",
        "server.openapi.offer", "server.openapi.operation", "server.openapi.shared", "server.parameters",
        "server.query",
    },
    "server.routes.queues": {
        "tornado", "nowait.bridge", "nowait.errors", "server.http", "server.http.access", "server.http.body",
        "server.http.context", "server.http.handler", "server.http.problem", "server.http.sockets", "server.keys.quota",
        "server.openapi.offer", "server.openapi.operation", "server.openapi.shared", "server.queues.queues",
        "server.queues.session",
    },
    "server.routes.schedules": {
        "tornado", "nowait.jobs.ids", "nowait.schedules.ticks", "server.http.access", "server.http.body",
        "server.http.context", "server.http.handler", "server.http.jobs", "server.http.pages", "server.http.schedules",
        "server.jobs.model", "server.jobs.request", "server.jobs.schemas", "server.openapi.offer",
        "server.openapi.operation", "server.openapi.shared", "server.parameters", "server.schedules",
        "server.schedules.model", "server.schedules.request",
    },
    "server.routes.topics": {
        "tornado", "server.http.access", "server.http.body", "server.http.context", "server.http.handler",
        "server.http.topics", "server.openapi.offer", "server.openapi.operation", "server.openapi.shared",
    },
    "server.routes.users": {
        "tornado", "nowait.messages.encoded", "server.http.access", "server.http.context", "server.http.handler",
        "server.http.tasks", "server.openapi.offer", "server.openapi.operation", "server.openapi.shared",
    },
    "server.schedules": set(),
    "server.schedules.__main__": {"server.schedules.file"},
    "server.schedules.database": {
        "sqlalchemy", "nowait.jobs.protocol", "server.jobs.connections", "server.schedules", "server.schedules.model",
    },
    "server.schedules.document": {"nowait.schedules.ticks", "server.schedules.model"},
    "server.schedules.edits": {"nowait.schedules.ticks", "server.schedules.model"},
    "server.schedules.file": {"tomli"},
    "server.schedules.model": {"nowait.jobs.retry", "nowait.jobs.table", "nowait.schedules.ticks"},
    "server.schedules.request": {
        "nowait.jobs.table", "server.jobs.kind", "server.jobs.request", "server.schedules.model",
    },
    "server.schedules.rows": {"sqlalchemy", "nowait.jobs.retry", "nowait.jobs.table", "server.schedules.model"},
    "server.schedules.schemas": {
        "nowait.jobs.retry", "nowait.jobs.table", "nowait.schedules.ticks", "server.jobs", "server.jobs.kind",
        "server.openapi.operation", "server.openapi.shared", "server.schedules.request",
    },
    "server.settings": {
        "nowait", "nowait.jobs.protocol", "nowait.jobs.table", "nowait.messages.limits", "nowait.settings",
        "server.http", "server.http.hosts", "server.http.origins", "server.http.proxies", "server.jobs.decisions",
        "server.names", "server.webhooks.addresses", "server.webhooks.signing",
    },
    "server.stamps": set(),
    "server.strict_json": set(),
    "server.tls": {"cryptography", "server.stamps"},
    "server.topics": set(),
    "server.topics.event": {"nowait.messages.stream", "server"},
    "server.topics.log": {
        "nowait", "nowait.bridge.call", "nowait.errors", "nowait.messages.stream", "server.topics.event",
        "server.topics.ring", "server.topics.stream", "server.topics.subscriber",
    },
    "server.topics.ring": {"server.topics.event"},
    "server.topics.stream": {
        "nowait.bridge.call", "nowait.errors", "nowait.messages.stream", "nowait.topology", "server.bridge",
        "server.missing",
    },
    "server.topics.subscriber": {"server.topics.event"},
    "server.tracing": {"tornado", "nowait", "nowait.bridge", "nowait.tracing", "server.http.route"},
    "server.webhooks": set(),
    "server.webhooks.__main__": {"server.webhooks.signing"},
    "server.webhooks.addresses": set(),
    "server.webhooks.deliverer": {
        "sqlalchemy", "nowait", "nowait.jobs", "server.jobs.connections", "server.jobs.looks", "server.jobs.model",
        "server.webhooks", "server.webhooks.deliveries", "server.webhooks.message", "server.webhooks.outcome",
        "server.webhooks.sender", "server.webhooks.slots", "server.webhooks.url",
    },
    "server.webhooks.deliveries": {
        "sqlalchemy", "nowait.jobs.protocol", "nowait.jobs.table", "server.jobs", "server.jobs.model",
        "server.webhooks.message",
    },
    "server.webhooks.message": {"nowait.jobs.table", "server.jobs", "server.jobs.model"},
    "server.webhooks.outcome": {"nowait.jobs.table"},
    "server.webhooks.resolver": {"tornado", "server.webhooks.addresses"},
    "server.webhooks.sender": {
        "tornado", "server.webhooks", "server.webhooks.outcome", "server.webhooks.resolver", "server.webhooks.signing",
        "server.webhooks.slots",
    },
    "server.webhooks.signing": {"standardwebhooks"},
    "server.webhooks.slots": set(),
    "server.webhooks.url": {"server.jobs.model", "server.webhooks.addresses"},
    "tasks": {"tasks.app"},
    "tasks.__main__": {"tasks.app", "tasks.checks", "tasks.database", "tasks.settings"},
    "tasks.app": {
        "celery", "nowait", "nowait.topology", "nowait.worker", "tasks.catalogue", "tasks.logs", "tasks.settings",
    },
    "tasks.catalogue": {
        "aiosql", "jsonschema", "sqlalchemy", "tomli", "nowait.jobs.retry", "nowait.jobs.table", "tasks.parameters",
    },
    "tasks.checks": {
        "pymysql", "sqlalchemy", "tasks.catalogue", "tasks.columns", "tasks.database", "tasks.driver",
        "tasks.statements",
    },
    "tasks.columns": {"pymysql", "tasks.packets"},
    "tasks.database": {"pymysql", "sqlalchemy", "nowait.database_url", "tasks"},
    "tasks.driver": {"pymysql"},
    "tasks.jobs": {"tasks.jobs.job", "tasks.jobs.registry"},
    "tasks.jobs.attempt": {
        "pymysql", "sqlalchemy", "nowait.errors", "nowait.jobs", "nowait.jobs.table", "tasks.database", "tasks.driver",
        "tasks.jobs", "tasks.jobs.failures", "tasks.jobs.heartbeat", "tasks.jobs.job", "tasks.jobs.lease",
        "tasks.jobs.registry", "tasks.jobs.results", "tasks.jobs.steps", "tasks.jobs.transaction", "tasks.statements",
    },
    "tasks.jobs.celery_tasks": {
        "celery", "nowait.jobs.retry", "tasks.jobs.job", "tasks.jobs.registry", "tasks.parameters",
    },
    "tasks.jobs.failures": {"nowait.errors", "tasks.jobs.lease", "tasks.jobs.results", "tasks.parameters"},
    "tasks.jobs.heartbeat": {
        "pymysql", "sqlalchemy", "nowait.jobs", "tasks.database", "tasks.driver", "tasks.jobs.lease",
        "tasks.statements",
    },
    "tasks.jobs.job": {"sqlalchemy", "nowait.errors", "tasks.jobs.lease", "tasks.jobs.results"},
    "tasks.jobs.lease": {"nowait.jobs.protocol"},
    "tasks.jobs.queries": {
        "nowait.errors", "nowait.messages.encoded", "nowait.rows", "tasks.catalogue", "tasks.jobs.job",
        "tasks.jobs.registry", "tasks.jobs.results", "tasks.spans", "tasks.statements",
    },
    "tasks.jobs.registry": {"nowait.jobs.retry", "nowait.jobs.table", "tasks.jobs.job", "tasks.parameters"},
    "tasks.jobs.results": {"nowait.errors", "nowait.messages.encoded", "nowait.rows"},
    "tasks.jobs.schema": {"pymysql", "sqlalchemy", "nowait.jobs", "tasks.database", "tasks.driver", "tasks.statements"},
    "tasks.jobs.steps": {
        "pymysql", "sqlalchemy", "nowait.jobs", "nowait.jobs.retry", "nowait.jobs.table", "tasks.database",
        "tasks.driver", "tasks.statements",
    },
    "tasks.jobs.transaction": {"sqlalchemy", "tasks.database", "tasks.jobs.failures", "tasks.statements"},
    "tasks.jobs.worker": {
        "celery", "tasks.app", "tasks.jobs", "tasks.jobs.attempt", "tasks.jobs.queries", "tasks.jobs.registry",
        "tasks.jobs.schema", "tasks.jobs.transaction",
    },
    "tasks.logs": {"celery", "nowait.logs"},
    "tasks.metrics": {"celery", "tasks.app", "tasks.metrics.scheduler", "tasks.metrics.worker"},
    "tasks.metrics.children": {"billiard", "prometheus_client", "nowait.metrics"},
    "tasks.metrics.events": {"celery", "prometheus_client", "nowait.metrics.tally", "tasks.metrics.task"},
    "tasks.metrics.exposition": {"prometheus_client", "nowait.metrics", "nowait.settings"},
    "tasks.metrics.moment": {"celery", "prometheus_client", "sqlalchemy"},
    "tasks.metrics.scheduler": {"prometheus_client", "nowait.settings", "tasks.metrics.exposition", "tasks.scheduler"},
    "tasks.metrics.task": {"nowait.worker.backend"},
    "tasks.metrics.worker": {
        "celery", "prometheus_client", "nowait.settings", "tasks", "tasks.jobs", "tasks.metrics.children",
        "tasks.metrics.events", "tasks.metrics.exposition", "tasks.metrics.moment",
    },
    "tasks.packets": {"asyncmy", "pymysql"},
    "tasks.parameters": {"jsonschema", "nowait.formats"},
    "tasks.queries": {
        "celery", "nowait.deadline", "nowait.errors", "nowait.messages.encoded", "nowait.rows", "nowait.worker",
        "tasks.app", "tasks.catalogue", "tasks.checks", "tasks.database", "tasks.reading", "tasks.result",
        "tasks.spans", "tasks.statements",
    },
    "tasks.reading": {
        "pymysql", "sqlalchemy", "nowait.errors", "tasks.database", "tasks.driver", "tasks.result", "tasks.statements",
    },
    "tasks.result": {"pymysql", "tasks.packets", "tasks.values"},
    "tasks.sample": {"sqlalchemy", "tasks.jobs"},
    "tasks.scheduler": {
        "celery", "pymysql", "sqlalchemy", "nowait.jobs.table", "nowait.schedules", "nowait.schedules.decisions",
        "nowait.schedules.protocol", "tasks.app", "tasks.database", "tasks.driver", "tasks.jobs.schema",
        "tasks.statements",
    },
    "tasks.settings": {"nowait", "nowait.settings"},
    "tasks.spans": {"celery", "sqlalchemy", "nowait", "nowait.tracing", "tasks.metrics.task"},
    "tasks.statements": {
        "pymysql", "sqlalchemy", "nowait.errors", "nowait.rows", "tasks.database", "tasks.driver", "tasks.result",
    },
    "tasks.tracing": {"celery", "tasks", "tasks.app", "tasks.jobs.worker"},
    "tasks.values": {"msgspec", "pymysql", "nowait.rows", "tasks.packets"},
}

# Decisions without I/O: no socket, no loop, no clock.
PURE = (
    "nowait.amqp.frames",
    "nowait.amqp.methods",
    "nowait.amqp.properties",
    "nowait.bridge.backlog",
    "nowait.bridge.calls",
    "nowait.bridge.probe",
    "nowait.errors",
    "nowait.jobs.protocol",
    "nowait.jobs.retry",
    "nowait.jobs.schema",
    "nowait.jobs.table",
    "nowait.schedules.decisions",
    "nowait.schedules.protocol",
    "nowait.schedules.ticks",
    "nowait.messages.encoder",
    "nowait.messages.limits",
    "nowait.messages.reply",
    "nowait.messages.outbound",
    "nowait.messages.template",
    "nowait.formats",
    "nowait.messages.validation",
    "nowait.topology",
    "nowait.rows",
    "server.jobs.document",
    "server.jobs.kind",
    "server.jobs.request",
    "server.openapi.document",
    "server.openapi.offer",
    "server.openapi.operation",
    "server.openapi.shared",
    "server.parameters",
    "nowait.bridge.channels",
    "nowait.bridge.confirms",
    "server.names",
    "server.queues.session",
    "server.strict_json",
    "server.topics.event",
    "server.topics.ring",
    "server.jobs.decisions",
    "server.jobs.quota",
    "server.jobs.rows",
    "server.answers.answer",
    "server.answers.flights",
    "server.answers.key",
    "server.http.cache_control",
    "server.http.preconditions",
    "server.http.connections",
    "server.http.access",
    "server.http.origins",
    "server.http.proxies",
    "server.keys.client",
    "server.keys.key",
    "server.keys.keyring",
    "server.keys.limits",
    "server.keys.pace",
    "server.keys.quota",
    "server.keys.scopes",
    "server.keys.token",
    "server.schedules.document",
    "server.schedules.edits",
    "server.schedules.model",
    "server.schedules.request",
    "server.schedules.rows",
    "server.schedules.schemas",
    "server.webhooks.addresses",
    "server.webhooks.deliveries",
    "server.webhooks.message",
    "server.webhooks.outcome",
    "server.webhooks.signing",
    "server.webhooks.slots",
    "server.webhooks.url",
    "tasks.jobs.failures",
    "tasks.jobs.lease",
    "tasks.jobs.results",
    "tasks.parameters",
)
IMPURE = {"asyncio", "socket", "ssl", "threading", "time", "select", "concurrent"}

# What `pip install nowait` is for; jobs need a database, and what it takes to reach one.
LIBRARY = ("amqp", "bridge", "link", "messages", "testing", "worker")

# Who never imports whom, directly or by way of others.
NEVER = [
    ("server", "tasks"),
    ("tasks", "server"),
    ("nowait", "server"),
    ("nowait", "tasks"),
    ("nowait", "tornado"),
    ("nowait", "http"),
    *((f"nowait.{part}", other) for part in LIBRARY for other in ("sqlalchemy", "nowait.jobs", "nowait.schedules")),
    *((f"nowait.{part}", other) for part in LIBRARY for other in ("opentelemetry", "nowait.tracing", "nowait.logs")),
    *((f"nowait.{part}", other) for part in LIBRARY for other in ("prometheus_client", "nowait.metrics.shared_values")),
    # Only those who make traces have its packages.
    ("server", "opentelemetry"),
    ("tasks", "opentelemetry"),
    # Only hosts that migrate have alembic.
    ("server", "nowait.jobs.migrations"),
    ("tasks", "nowait.jobs.migrations"),
    ("nowait.jobs", "nowait.schedules"),
    *(
        (f"nowait.{part}", other)
        for part in ("jobs", "schedules")
        for other in ("celery", "nowait.bridge", "nowait.worker")
    ),
    ("nowait.bridge", "nowait.worker"),
    ("nowait.worker", "nowait.bridge"),
    ("nowait.link", "nowait.bridge"),
    ("nowait.link", "nowait.worker"),
    ("nowait.messages", "nowait.bridge"),
    ("nowait.messages", "nowait.worker"),
    ("nowait.amqp", "nowait.messages"),
    ("nowait.amqp", "amqp"),
]


def modules() -> dict[str, Path]:
    """Every module of the packages, by name."""
    found = {}
    for package in ("nowait", "server", "tasks"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """What a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
    return names


def within(name: str, package: str) -> bool:
    """Is `name` the package, or a part of it?"""
    return f"{name}.".startswith(f"{package}.")


def test_every_module_is_listed_and_every_listed_module_is_there() -> None:
    assert modules().keys() == ALLOWED.keys()


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_a_module_imports_what_is_listed(name: str) -> None:
    found = set()
    for imported in imports(modules()[name]):
        top = imported.partition(".")[0]
        if top in OWN:
            found.add(imported)
        elif top not in sys.stdlib_module_names:
            found.add(top)
    assert found == ALLOWED[name]


@pytest.mark.parametrize(("package", "other"), NEVER)
def test_a_package_never_imports_what_it_must_not_know(package: str, other: str) -> None:
    for name, path in modules().items():
        if within(name, package):
            assert not [imported for imported in imports(path) if within(imported, other)], name


@pytest.mark.parametrize("name", PURE)
def test_what_decides_does_no_io(name: str) -> None:
    assert not {imported.partition(".")[0] for imported in imports(modules()[name])} & IMPURE
    assert not re.search(r"\.(now|utcnow|today)\(", modules()[name].read_text()), "the clock is an argument"


@pytest.mark.parametrize(("module", "other"), [("nowait.bridge", "nowait.worker"), ("nowait.worker", "nowait.bridge")])
def test_bridge_and_worker_are_loaded_one_without_the_other(module: str, other: str) -> None:
    program = f"import sys, {module}; sys.exit({other!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
