"""The web front: it takes an order at once, and the worker charges it."""

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from django_celery_results.models import TaskResult

from orders.models import Order
from orders.tasks import charge


@csrf_exempt
@require_POST
def create(request: HttpRequest) -> JsonResponse:
    """Keep an order. Its task is sent when the transaction is committed."""
    cents = request.POST.get("cents", "")
    if not cents.isdecimal():
        return JsonResponse({"error": "cents is not a whole number"}, status=400)
    with transaction.atomic():
        order = Order.objects.create(cents=int(cents))
        transaction.on_commit(lambda: charge.apply_async((order.pk,), task_id=str(order.task)))
    return JsonResponse({"order": order.pk}, status=202)


@require_GET
def show(_request: HttpRequest, number: int) -> JsonResponse:
    """Show an order, and what the worker has stored of its task."""
    order = get_object_or_404(Order, pk=number)
    stored = TaskResult.objects.filter(task_id=str(order.task)).first()
    return JsonResponse(
        {
            "order": number,
            "is_paid": order.paid_at is not None,
            "task": stored.status if stored else "PENDING",
            "result": stored.result if stored else None,
        }
    )
