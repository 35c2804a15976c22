"""TRL: what does a language model's student say of its teacher's k most likely tokens, while it is trained?

    python examples/trl_top_k.py
    disobey diagnose top-k-pairs/step60.npz

Needs `pip install 'disobey[hub]' trl`. Tiny models with random weights on counting sentences stand for yours; the
trainer is TRL's `SFTTrainer`, and the same callback serves its `DistillationTrainer`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from disobey.integrations.trl import SaveTopK

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def tokenizer() -> PreTrainedTokenizerFast:
    """A token a word."""
    known = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=12
    )


def language_model(width: int, seed: int, size: int) -> GPT2LMHeadModel:
    """A transformer of one layer."""
    torch.manual_seed(seed)
    shape = {"n_layer": 1, "n_head": 2, "n_positions": 16, "vocab_size": size}
    return GPT2LMHeadModel(GPT2Config(n_embd=width, bos_token_id=1, eos_token_id=1, pad_token_id=0, **shape))


def main(folder: str = "top-k-pairs", steps: int = 60) -> list[Path]:
    """Trains a teacher, then a student beside the callback; gives the files that were saved."""
    words = tokenizer()
    texts = [" ".join(WORDS[(start + step * i) % 10] for i in range(8)) for start in range(10) for step in (1, 2, 3)]
    data = Dataset.from_dict({"text": texts})

    def trained(model: GPT2LMHeadModel, callbacks: list[Any]) -> GPT2LMHeadModel:
        arguments = SFTConfig(
            tempfile.mkdtemp(),
            max_steps=steps,
            per_device_train_batch_size=10,
            learning_rate=1e-2,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
        )
        SFTTrainer(model, arguments, train_dataset=data, processing_class=words, callbacks=callbacks).train()
        return model

    teacher = trained(language_model(32, 0, len(words)), [])
    held_out = words(texts, return_tensors="pt", padding=True)
    save = SaveTopK(teacher, [dict(held_out)], folder, k=4, every=30)
    trained(language_model(16, 1, len(words)), [save])
    print("saved:", *save.written)
    return save.written


if __name__ == "__main__":
    main()
