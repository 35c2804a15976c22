"""Whether masking confusable classes can replace a teacher."""
