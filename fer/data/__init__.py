"""From a source on disk to batches: readers, balancing, augmentation and the data module."""
