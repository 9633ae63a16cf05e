"""The least that Django needs."""

SECRET_KEY = "not a secret"  # noqa: S105
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["tests.brokers.apps.django_shop"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "tests.brokers.apps.django_shop.urls"
WSGI_APPLICATION = "tests.brokers.apps.django_shop.wsgi.application"
