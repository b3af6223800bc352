"""What `make demo` does: real digits, a real model, the stock client, and the table at the end."""
