"""Pages that are made from the code or from other pages; `docs/build.py` writes and checks them."""
