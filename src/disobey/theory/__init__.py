"""Closed forms that studies are checked against. numpy and scipy only."""
