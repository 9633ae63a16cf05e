"""The tasks of the worker; beat sends `remind`."""

import time

from celery import shared_task
from celery.utils.log import get_task_logger
from django.utils import timezone

from orders.models import Order

logger = get_task_logger(__name__)


class GatewayBusyError(Exception):
    """The card gateway is busy; call it again later."""


@shared_task(
    name="orders.charge",
    bind=True,
    autoretry_for=(GatewayBusyError,),
    default_retry_delay=1,
    max_retries=3,
)
def charge(self, number):
    """Charge an order. The gateway is busy at the first attempt, which makes a retry."""
    time.sleep(0.05)
    if self.request.retries == 0:
        raise GatewayBusyError(f"busy, order {number} not charged")
    Order.objects.filter(pk=number).update(paid_at=timezone.now())
    return {"order": number, "attempts": self.request.retries + 1}


@shared_task(name="orders.remind", ignore_result=True)
def remind():
    """Remind of the orders that are not paid."""
    waiting = Order.objects.filter(paid_at=None).count()
    logger.info("%d orders are not paid", waiting)
