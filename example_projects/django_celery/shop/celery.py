"""The Celery app of the project, traced in all its processes: web, worker and beat."""

import os

from celery import Celery

from otel_queue_plugins.celery import instrument

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
instrument()
