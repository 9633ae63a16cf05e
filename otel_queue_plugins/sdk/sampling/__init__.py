"""`TaskQueueSampler`: which traces are kept, by task and queue, and which deliveries besides."""
