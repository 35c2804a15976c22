"""What all studies share: options, design, evidence, verdict rules, claims."""
