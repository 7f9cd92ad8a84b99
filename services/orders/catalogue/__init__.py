"""What is sold and at which price: the file, its meaning, and the topic that tells it."""
