"""A worker of Celery's alone, with what OpenTelemetry has for it."""

import os

from celery import Celery
from celery.signals import worker_init
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

app = Celery("stock", broker=os.environ["BROKER_URL"], backend="rpc://")
app.conf.task_default_queue = "queries"


@worker_init.connect
def begin(**_):
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()


@app.task(name="task.query_users")
def query_users(flag, delay=0):
    with trace.get_tracer("stock").start_as_current_span("inside"):
        return []
