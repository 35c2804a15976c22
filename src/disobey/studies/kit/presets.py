"""Setups that presets of several studies share."""

from __future__ import annotations

from disobey.studies.kit.setup import Setup

# CIFAR ResNets in a short budget: 16 passes over 45,000 images, three seeds. Optimizer, schedule and rate were chosen
# on 10,000 images at 16x16 (docs/experiments/2026-11-29-one-cycle.md). Meant for a GPU, with --precision bfloat16
# and --capture; the preset itself says float32, because a recipe must not depend on the machine.
CIFAR_SPEED = Setup(
    "hub:uoft-cs/cifar10",
    augment="crop-flip",
    seeds=(0, 1, 2),
    steps=5_600,
    batch=128,
    lr=0.3,
    optimizer="sgd",
    decay="one-cycle",
    weight_decay=5e-4,
)
