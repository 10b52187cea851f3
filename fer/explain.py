"""Where a network looks: Grad-CAM, in the variant that is valid for every head."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def grad_cam(model: nn.Module, layer: nn.Module, faces: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return the regions that speak for a class.

    Grad-CAM (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391) weights each map by its mean gradient, which
    tells where the class is seen only if the maps are then averaged over all positions. Heads that distinguish
    positions, as these networks' do, need each position's own gradient: HiResCAM (Draelos and Carin, 2020,
    https://arxiv.org/abs/2011.08891). If such an average follows, the two are the same.

    Runs in eval mode and works inside `no_grad` and `inference_mode` and with every parameter frozen.
    Leaves the model as it was: training modes, gradients and hooks.

    Args:
        model: Maps uint8 faces (N, 1, H, W) to logits (N, C).
        layer: A module inside the model that returns maps (N, K, h, w), commonly the last convolution.
        faces: uint8, (N, 1, H, W), on the model's device.
        targets: int64, (N,), the class to explain per picture; None for the predicted one.

    Returns:
        Float32, (N, H, W), scaled to a maximum of 1 per picture; all 0 where nothing speaks for the class.

    Raises:
        ValueError: If the layer does not run, or does not return maps.
    """
    maps: list[Tensor] = []

    def capture(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        # A new leaf, so that gradients start here even where no parameter asks for one.
        maps.append(output.detach().requires_grad_())
        return maps[-1].clone()  # an in-place activation may follow, which a leaf forbids

    # Module by module, since a frozen block stays in eval mode while the rest trains.
    modes = {module: module.training for module in model.modules()}
    hook = layer.register_forward_hook(capture)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            logits = model.eval()(faces.clone())
            if not maps or maps[-1].ndim != 4:
                raise ValueError("the layer must run in the model and return maps of shape (N, K, h, w)")
            chosen = logits.argmax(dim=1) if targets is None else targets
            evidence = logits.gather(1, chosen[:, None]).sum()
            (gradients,) = torch.autograd.grad(evidence, maps[-1])
    finally:
        hook.remove()
        for module, training in modes.items():
            module.training = training
    return _heatmaps(maps[-1].detach().float(), gradients.float(), (faces.shape[-2], faces.shape[-1]))


def _heatmaps(maps: Tensor, gradients: Tensor, size: tuple[int, int]) -> Tensor:
    """Weight maps (N, K, h, w) by their gradients, keep what is positive, scale to 0..1: (N, H, W)."""
    terms = gradients * maps
    heat = terms.sum(dim=1, keepdim=True).relu()
    heat = functional.interpolate(heat, size=size, mode="bilinear", align_corners=False)[:, 0]
    # what is left where terms cancel is rounding error, not heat
    noise = 1e-5 * terms.abs().sum(dim=1).amax(dim=(1, 2)).clamp_min(torch.finfo(heat.dtype).tiny)
    peak = heat.amax(dim=(1, 2))
    return torch.where((peak > noise)[:, None, None], heat / peak.clamp_min(noise)[:, None, None], 0.0)
