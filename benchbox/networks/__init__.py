"""`nn.Module` builders, one file per family; nothing of benchmarking in them."""
