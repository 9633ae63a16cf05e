"""Queues on RabbitMQ, read over AMQP and, where its URL is given, the management API."""
