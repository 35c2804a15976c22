"""The study `denoising`."""
