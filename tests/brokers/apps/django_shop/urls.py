"""Two views."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import path

from tests.brokers.apps.answers import answer
from tests.brokers.apps.sender import send


def order(_request: HttpRequest) -> JsonResponse:
    """Send a message."""
    send()
    return JsonResponse(answer())


def quiet(_request: HttpRequest) -> JsonResponse:
    """Send nothing."""
    return JsonResponse(answer())


urlpatterns = [path("send", order), path("quiet", quiet)]
