"""The table of orders."""

import uuid

from django.db import migrations, models


class Migration(migrations.Migration):
    """As `manage.py makemigrations` has written it."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cents", models.PositiveIntegerField()),
                ("task", models.UUIDField(default=uuid.uuid4, editable=False)),
                ("paid_at", models.DateTimeField(null=True)),
            ],
        ),
    ]
