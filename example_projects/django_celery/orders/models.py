"""What is kept of an order."""

import uuid

from django.db import models


class Order(models.Model):
    """Somebody owes so many cents, until they are paid. `task` is the id of the task for that."""

    cents = models.PositiveIntegerField()
    task = models.UUIDField(default=uuid.uuid4, editable=False)
    paid_at = models.DateTimeField(null=True)
