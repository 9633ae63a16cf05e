"""The parts that work only in the main process of a worker, which receives the messages."""
