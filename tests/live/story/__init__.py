"""What people do with a hub, told by the Python of each client version: standard library and huggingface_hub only."""
