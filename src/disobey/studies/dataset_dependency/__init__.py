"""What about the data decides whether distillation pays."""
