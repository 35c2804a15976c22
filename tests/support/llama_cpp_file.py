"""Writes what llama-perplexity saves, from the format's description alone: one place after another, no NumPy arrays."""

import math
import struct


def quantized(logits):
    """The bytes of one place: step, lowest log-probability, and the numbers of all tokens, padded to even."""
    best = max(logits)
    low = max(min(logits), best - 16.0)
    log_sum = math.log(sum(math.exp(z - best) for z in logits))
    step = (best - low) / 65535
    numbers = [round((z - low) / step) if step and z > low else 0 for z in logits]
    padded = numbers + [0] * (len(numbers) % 2)
    return struct.pack("<ff", step, low - best - log_sum) + struct.pack(f"<{len(padded)}H", *padded)


def write(path, tokens, context, logits_at):
    """``tokens``: a list, a multiple of ``context`` long; ``logits_at(chunk, place)``: a list of V numbers."""
    chunks = len(tokens) // context
    vocabulary = len(logits_at(0, context // 2))
    with open(path, "wb") as file:
        file.write(b"_logits_" + struct.pack("<Iii", context, vocabulary, chunks))
        file.write(struct.pack(f"<{len(tokens)}i", *tokens))
        for chunk in range(chunks):
            for place in range(context // 2, context - 1):
                file.write(quantized(logits_at(chunk, place)))
