"""What a worker does to texts: tidying, folds, and the conversation that they look back into."""
