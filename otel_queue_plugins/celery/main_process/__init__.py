"""For the main process of a worker only: receipts, and deliveries that the task did not end."""
