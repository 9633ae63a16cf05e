"""What only the process that receives a worker's messages sees."""
