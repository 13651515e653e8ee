"""How an encoder is trained: chips, augmentations, schedule, one visible loop, checkpoints, diagnostics."""
