"""Random teachers, subliminal learning, self-distillation and distillation as corners of one factorial."""
