"""A loaded model with its tokenizer and prompt format: loaded, offloaded, run by several processes."""
