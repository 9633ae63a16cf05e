"""A Django project: the app to send with is imported first, as Celery's manual has it."""

from tests.brokers.apps.sender import instrument_app

instrument_app()
