"""Recurrent layers and their solvers; `disobey.nn` is their public face."""
