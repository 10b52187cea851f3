"""Batch norm folded into the convolution before it, where both are frozen."""

from collections.abc import Collection
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold(network: nn.Module, trained: Collection[nn.Module] = ()) -> None:
    """Fold every frozen batch norm into the frozen convolution that it follows in a sequence.

    Since its statistics are constants, it is a factor and an offset per channel, which the convolution computes for
    nothing; alone it costs a third of a forward pass.

    Args:
        network: Its modules are changed in place; what is folded is set to evaluation mode.
        trained: The layers that are not frozen.
    """
    for block in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index, (conv, norm) in enumerate(pairwise(block)):
            kept = conv in trained or norm in trained
            constant = isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and constant and not kept:
                block[index] = fuse_conv_bn_eval(conv.eval(), norm.eval())
                block[index + 1] = nn.Identity()
