"""Vectors and adapters to and from the Hugging Face hub, with a card that says what they do."""
