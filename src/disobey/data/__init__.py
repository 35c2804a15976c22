"""Arrays from somewhere: real, embedded, local, hub and synthetic data. No models, no training."""
