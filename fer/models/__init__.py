"""Networks: plain `nn.Module`s from normalised pictures to logits. They know nothing of Lightning."""
