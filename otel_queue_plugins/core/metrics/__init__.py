"""What is counted and measured, and the attributes that a route gives to it."""
