"""Pooling, and resizing."""

import torch
import torch.nn.functional as F
from registry import f, ints, literal, onnx_case, torch_case

for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (5, 1, 2), (13, 1, 6), ((3, 2), (2, 1), (1, 0)), (1, 1, 0)):
    for channels in (3, 16, 33):
        torch_case("max_pool2d", lambda x, k=kernel, s=stride, p=padding: F.max_pool2d(x, k, s, p),
                   f(1, channels, 13, 14))
torch_case("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), f(2, 3, 8, 9))
torch_case("max_pool2d", lambda x: F.max_pool2d(x, 3, 1, 1, dilation=2), f(2, 3, 8, 9))
torch_case("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, 1), f(1, 2, 9, 9).nan())
torch_case("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, 1), f(2, 9, 9))
torch_case("max_pool2d", lambda x: F.max_pool2d(x, 5, 1, 2), f(1, 16, 8, 8), also=[(f(1, 16, 3, 17),), (f(1, 16, 20, 2),)])
torch_case("max_pool2d_with_indices", lambda x: torch.ops.aten.max_pool2d_with_indices(x, [3, 3], [2, 2], [1, 1])[0],
           f(1, 5, 9, 9))
torch_case("max_pool1d", lambda x: F.max_pool1d(x, 3, 2, 1), f(1, 5, 20))
for options in ({}, {"padding": 1}, {"padding": 1, "count_include_pad": False}, {"padding": 1, "ceil_mode": True}):
    torch_case("avg_pool2d", lambda x, o=options: F.avg_pool2d(x, 3, 2, **o), f(1, 17, 10, 11))
torch_case("avg_pool2d", lambda x: F.avg_pool2d(x, 20, ceil_mode=True), f(1, 5, 7, 9))  # a window beyond the input
torch_case("max_pool2d", lambda x: F.max_pool2d(x, 9, 9, ceil_mode=True), f(1, 17, 7, 10))
for size in (1, (2, 3), (7, 7), (1, 4)):
    torch_case("adaptive_avg_pool2d", lambda x, s=size: F.adaptive_avg_pool2d(x, s), f(2, 5, 7, 9))
torch_case("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 1), f(1, 40, 1, 1))
torch_case("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 1), f(3, 16, 6, 6), also=[(f(1, 16, 6, 6),)])
torch_case("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 1), f(5, 7, 9))

for scale in (2.0, 3.0, 1.5, 0.5):
    torch_case("upsample_nearest2d", lambda x, s=scale: F.interpolate(x, scale_factor=s, mode="nearest"), f(1, 5, 6, 7))
torch_case("upsample_nearest2d", lambda x: F.interpolate(x, size=(9, 4), mode="nearest"), f(2, 17, 5, 6))
torch_case("upsample_nearest2d", lambda x: F.interpolate(x, scale_factor=(2.0, 1.0), mode="nearest"), f(1, 16, 5, 1))
torch_case("upsample_nearest2d", lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"), f(1, 5, 6, 7),
           also=[(f(1, 5, 2, 13),)])
torch_case("upsample_bilinear2d", lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"), f(1, 5, 6, 7))
for scale in (1.5, 0.7, 2.3):  # sizes that are products of a size and a real number, rounded down
    torch_case("upsample_bilinear2d", lambda x, s=scale: F.interpolate(x, scale_factor=s, mode="bilinear"),
               f(1, 5, 10, 7), also=[(f(1, 5, 3, 13),), (f(1, 5, 20, 30),)])
torch_case("upsample_bilinear2d", lambda x: F.interpolate(x, size=(9, 4), mode="bilinear", align_corners=True), f(1, 5, 6, 7))

for kernel, strides, pads in (([2, 2], [2, 2], [0, 0, 0, 0]), ([3, 3], [2, 2], [1, 1, 1, 1]),
                              ([3, 2], [1, 2], [0, 1, 2, 0]), ([13, 13], [1, 1], [6, 6, 6, 6])):
    onnx_case("MaxPool", f(1, 5, 15, 16), kernel_shape=kernel, strides=strides, pads=pads)
    onnx_case("AveragePool", f(1, 5, 15, 16), kernel_shape=kernel, strides=strides, pads=pads)
onnx_case("MaxPool", f(1, 5, 14, 15), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
onnx_case("MaxPool", f(1, 5, 14, 15), kernel_shape=[3, 3], dilations=[2, 2])
onnx_case("MaxPool", f(1, 5, 14, 15), kernel_shape=[2, 2], auto_pad="SAME_UPPER")
onnx_case("MaxPool", f(1, 5, 14), kernel_shape=[3], strides=[2])
onnx_case("AveragePool", f(1, 5, 14, 15), kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
onnx_case("GlobalAveragePool", f(2, 17, 5, 6))
onnx_case("GlobalMaxPool", f(2, 17, 5, 6))
for scales in ((1, 1, 2, 2), (1, 1, 1.5, 3), (1, 1, 0.5, 0.75)):
    for rounding in ("floor", "round_prefer_floor", "ceil"):
        onnx_case("Resize", f(1, 5, 6, 7), None, literal(scales), mode="nearest", nearest_mode=rounding,
                  coordinate_transformation_mode="asymmetric")
onnx_case("Resize", f(1, 5, 6, 7), None, literal((1, 1, 2, 2)), mode="nearest")
# As PyTorch's exporter writes it, with every attribute.
onnx_case("Resize", f(1, 5, 6, 7), None, literal((1, 1, 2, 2)), mode="nearest", nearest_mode="floor",
          coordinate_transformation_mode="asymmetric", keep_aspect_ratio_policy="stretch", antialias=0,
          extrapolation_value=0.0, exclude_outside=0, cubic_coeff_a=-0.75)
onnx_case("Resize", f(1, 5, 6, 7), None, None, ints(1, 5, 9, 4), mode="nearest",
          coordinate_transformation_mode="asymmetric", nearest_mode="floor")
for mode in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
    onnx_case("Resize", f(1, 3, 6, 7), None, None, ints(1, 3, 9, 11), mode="linear", coordinate_transformation_mode=mode)

for size in (1, 3):
    torch_case("adaptive_avg_pool1d", lambda x, s=size: F.adaptive_avg_pool1d(x, s), f(2, 17, 9))
for scale in (2.0, 1.5):
    torch_case("upsample_bicubic2d", lambda x, s=scale: F.interpolate(x, scale_factor=s, mode="bicubic"), f(1, 3, 6, 7))
torch_case("upsample_bicubic2d", lambda x: F.interpolate(x, size=(9, 4), mode="bicubic", align_corners=True), f(1, 3, 5, 6))
