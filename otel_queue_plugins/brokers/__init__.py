"""Queues as a broker keeps them: how deep, how old, what is inside, and what can be done about it.

`opening` makes a `QueueReader` from a Celery app, a Dramatiq broker or a URL.
"""
