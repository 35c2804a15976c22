"""Callbacks for other training frameworks; nothing of the package imports them."""
