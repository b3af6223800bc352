"""Loaders whose environments take minutes to install: run by hand, no lane of CI names this folder."""
