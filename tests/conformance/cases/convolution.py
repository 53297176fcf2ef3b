"""Convolutions of one and two dims, with every combination that has a way to go wrong,
and the batch norm and padding that fold into them."""

import torch
import torch.nn.functional as F
from registry import f, onnx_case, torch_case


def conv2d(x, w, bias=None, **options):
    torch_case("conv2d", lambda *a, o=options: F.conv2d(*a, **o), x, w.const(),
               *([bias.const()] if bias else []))


def conv1d(x, w, bias=None, **options):
    torch_case("conv1d", lambda *a, o=options: F.conv1d(*a, **o), x, w.const(),
               *([bias.const()] if bias else []))


# kernel, channels in and out, size: 1, odd, one more than a block, three blocks
for channels, outputs in ((1, 1), (3, 5), (16, 16), (17, 33), (48, 64), (24, 144)):
    for kernel in (1, 3, 5):
        conv2d(f(1, channels, 9, 11), f(outputs, channels, kernel, kernel), f(outputs),
               padding=kernel // 2)
conv2d(f(2, 16, 14, 14), f(32, 16, 1, 1))
conv2d(f(3, 5, 7, 9), f(8, 5, 3, 3), f(8), stride=2, padding=1)
conv2d(f(3, 16, 12, 12), f(40, 16, 3, 3), f(40), stride=2, padding=1)
conv2d(f(1, 16, 13, 12), f(40, 16, 1, 1), stride=2)
conv2d(f(1, 20, 12, 15), f(8, 20, 3, 3), f(8), padding=2, dilation=2)
conv2d(f(1, 20, 12, 15), f(8, 20, 3, 3), f(8), stride=(2, 3), padding=(0, 2), dilation=(1, 3))
conv2d(f(1, 6, 10, 10), f(8, 6, 5, 2), f(8), padding=(2, 1))
conv2d(f(1, 6, 10, 10), f(8, 6, 3, 3), padding="same")
conv2d(f(1, 6, 10, 10), f(8, 6, 4, 4), padding="same")  # one more on the right
conv2d(f(1, 6, 10, 10), f(8, 6, 3, 3), padding="valid")
conv2d(f(1, 3, 3, 3), f(4, 3, 3, 3), f(4))  # one output pixel
conv2d(f(1, 64, 1, 1), f(10, 64, 1, 1), f(10))
conv2d(f(0, 3, 5, 5), f(4, 3, 3, 3), f(4), padding=1)  # no images
conv2d(f(3, 5, 5), f(4, 3, 3, 3), f(4), padding=1)  # unbatched
conv2d(f(1, 3, 5, 40), f(130, 3, 3, 3), f(130), padding=1)
conv2d(f(1, 128, 20, 20), f(128, 128, 3, 3), f(128), padding=1)
# images: six taps at stride 2, whose phases become channels; sizes that leave tiles unfilled
conv2d(f(1, 3, 96, 101), f(24, 3, 6, 6), f(24), stride=2, padding=2)
conv2d(f(2, 4, 40, 150), f(33, 4, 6, 6), stride=2)
torch_case("conv2d", lambda x, w: F.silu(F.conv2d(x, w, stride=2, padding=(2, 1))),
           f(1, 3, 66, 80), f(16, 3, 6, 6).const(),
           also=[(f(3, 3, 67, 121), f(16, 3, 6, 6).const())])
# groups: depthwise, depthwise with multiplier, few wide groups, many narrow ones
for channels in (1, 3, 16, 19, 96):
    for stride in (1, 2):
        conv2d(f(1, channels, 11, 9), f(channels, 1, 3, 3), f(channels), padding=1, stride=stride,
               groups=channels)
conv2d(f(2, 8, 9, 9), f(8, 1, 5, 5), padding=2, groups=8)
conv2d(f(1, 8, 9, 9), f(8, 1, 3, 3), padding=2, dilation=2, groups=8)
conv2d(f(1, 8, 9, 9), f(24, 1, 3, 3), f(24), padding=1, groups=8)
conv2d(f(1, 32, 9, 9), f(32, 16, 3, 3), f(32), padding=1, groups=2)
conv2d(f(1, 12, 9, 9), f(20, 3, 3, 3), f(20), padding=1, groups=4)
conv2d(f(1, 32, 8, 8), f(64, 16, 1, 1), groups=2)
torch_case("conv2d", lambda x, w: F.conv2d(x, w, padding=1), f(1, 3, 8, 8), f(5, 3, 3, 3))  # weights at run time
torch_case("conv2d", lambda x, w, c: F.conv2d(x, w, c, padding=1),
           f(1, 3, 8, 8), f(5, 3, 3, 3).const(), f(5).const(),
           also=[(f(4, 3, 8, 8), f(5, 3, 3, 3).const(), f(5).const())])
torch_case("conv2d", lambda x, w: F.silu(F.conv2d(x, w, stride=2, padding=1)),
           f(1, 16, 9, 12), f(24, 16, 3, 3).const(),
           also=[(f(1, 16, 3, 3), f(24, 16, 3, 3).const()), (f(1, 16, 30, 41), f(24, 16, 3, 3).const())])
torch_case("conv2d_add_relu", lambda x, w, r: F.relu(F.conv2d(x, w, padding=1) + r),
           f(1, 16, 8, 8), f(16, 16, 3, 3).const(), f(1, 16, 8, 8))
torch_case("convolution", lambda x, w: torch.ops.aten.convolution(
    x, w, None, [2, 1], [1, 0], [1, 1], False, [0, 0], 1), f(1, 3, 9, 9), f(4, 3, 3, 3).const())
torch_case("conv_chain", lambda x, a, d, p: F.conv2d(F.relu6(F.conv2d(F.relu6(F.conv2d(x, a)), d, padding=1, groups=48)), p) + x,
           f(1, 8, 10, 10), f(48, 8, 1, 1).const(), f(48, 1, 3, 3).const(), f(8, 48, 1, 1).const())
torch_case("two_readers", lambda x, a, c: torch.cat((F.conv2d(x, a), F.conv2d(x, c)), 1),
           f(1, 8, 6, 6), f(5, 8, 1, 1).const(), f(16, 8, 1, 1).const())

for channels, outputs, taps in ((1, 1, 1), (5, 7, 3), (16, 48, 5), (33, 17, 1), (128, 64, 3)):
    conv1d(f(1, channels, 30), f(outputs, channels, taps), f(outputs), padding=taps // 2)
for taps in (3, 33, 75):
    for length in (1, 7, 80):
        conv1d(f(1, 20, length), f(20, 1, taps), padding=taps // 2, groups=20)
conv1d(f(2, 20, 61), f(20, 1, 33), f(20), stride=2, padding=16, groups=20)
conv1d(f(1, 20, 100), f(20, 1, 87), padding=86, dilation=2, groups=20)
conv1d(f(1, 12, 30), f(8, 3, 5), f(8), padding=2, groups=4)
conv1d(f(3, 80, 50), f(24, 80, 3), f(24), stride=2, padding=1)
conv1d(f(12, 30), f(8, 12, 5), f(8))
torch_case("conv1d", lambda x, w: F.conv1d(x, w, padding=16, stride=2, groups=16),
           f(1, 16, 40), f(16, 1, 33).const(),
           also=[(f(1, 16, 5), f(16, 1, 33).const()), (f(1, 16, 131), f(16, 1, 33).const())])


def batch_norm(x, m, v, w, c):
    return F.batch_norm(x, m, v.abs() + 0.5, w, c, False, 0.1, 1e-3)


for shape in ((2, 5, 3, 3), (1, 17, 9), (4, 6), (1, 32, 7, 7), (0, 3, 2, 2)):
    n = f(shape[1]).const()
    torch_case("batch_norm", batch_norm, f(*shape), n, n, n, n)
torch_case("batch_norm", lambda x, m, v: F.batch_norm(x, m, v.abs() + 0.5), f(2, 5, 4), f(5).const(), f(5).const())
torch_case("conv_bn_relu", lambda x, w, m, v, g, c: F.relu(batch_norm(F.conv2d(x, w, padding=1), m, v, g, c)),
           f(1, 5, 8, 8), f(18, 5, 3, 3).const(), *[f(18).const()] * 4)
torch_case("_native_batch_norm_legit_no_training", lambda x, w, c, m, v:
           torch.ops.aten._native_batch_norm_legit_no_training(x, w, c, m, v.abs() + 0.5, 0.1, 1e-3)[0],
           f(2, 5, 4, 4), *[f(5).const()] * 4)

# pad: constant, negative (crops), reflect, replicate; asymmetric; other values
for pads in ((1, 1), (0, 1, 0, 1), (1, 2, 3, 4), (-1, 2), (0, 0, -1, -1), (0, 0, 0, 0, 2, 1)):
    torch_case(f"pad{list(pads)}".replace(" ", ""), lambda x, p=pads: F.pad(x, p, value=0.5), f(1, 3, 5, 6))
    torch_case(f"constant_pad_nd{list(pads)}".replace(" ", ""),
               lambda x, p=pads: torch.ops.aten.constant_pad_nd(x, list(p), float("-inf")), f(2, 3, 5, 6))
torch_case("pad_then_conv", lambda x, w: F.conv2d(F.pad(x, (0, 1, 0, 1)), w, stride=2),
           f(1, 3, 8, 8), f(16, 3, 3, 3).const())
torch_case("pad_reflect", lambda x: F.pad(x, (2, 1, 1, 2), mode="reflect"), f(1, 3, 5, 6))
torch_case("pad_replicate", lambda x: F.pad(x, (2, 1, 1, 2), mode="replicate"), f(1, 3, 5, 6))

for pads in ([0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [2, 1, 0, 3]):
    for strides in ([1, 1], [2, 2], [1, 2]):
        onnx_case("Conv", f(1, 5, 9, 10), f(8, 5, 3, 3).const(), f(8).const(), pads=pads, strides=strides)
onnx_case("Conv", f(1, 5, 9, 10), f(8, 5, 3, 3).const(), auto_pad="SAME_UPPER", strides=[2, 2])
onnx_case("Conv", f(1, 5, 9, 10), f(8, 5, 2, 2).const(), auto_pad="SAME_LOWER")
onnx_case("Conv", f(1, 5, 9, 10), f(8, 5, 3, 3).const(), auto_pad="VALID")
onnx_case("Conv", f(1, 8, 9, 10), f(8, 1, 3, 3).const(), group=8, pads=[1, 1, 1, 1])
onnx_case("Conv", f(1, 8, 30), f(16, 8, 5).const(), f(16).const(), pads=[4, 0], dilations=[1])
onnx_case("Conv", f(1, 8, 30), f(8, 1, 5).const(), group=8, pads=[4, 4], dilations=[2])
onnx_case("Conv", f(1, 3, 6, 6), f(4, 3, 3, 3))  # weights at run time
onnx_case("Conv", f(1, 3, 4, 5, 6), f(4, 3, 2, 3, 3).const(), pads=[0, 1, 1, 1, 1, 1])
onnx_case("BatchNormalization", f(2, 5, 3, 3), f(5).const(), f(5).const(), f(5).const(),
          f(5).between(0.5, 2).const(), epsilon=1e-3)

torch_case("conv_transpose1d", lambda x, w, c: F.conv_transpose1d(x, w, c, stride=2, padding=1, output_padding=1),
           f(2, 5, 7), f(5, 3, 4).const(), f(3).const())
torch_case("conv_transpose2d", lambda x, w: F.conv_transpose2d(x, w, stride=2), f(1, 17, 4, 5), f(17, 6, 2, 2).const())
torch_case("conv_transpose2d", lambda x, w, c: F.conv_transpose2d(x, w, c, stride=(2, 1), padding=(1, 0), groups=2),
           f(2, 4, 5, 6), f(4, 3, 3, 3).const(), f(6).const())
torch_case("weight_norm", lambda v, g: torch._weight_norm(v, g, 0), f(4, 3, 5), f(4, 1, 1))
torch_case("weight_norm", lambda v, g: torch._weight_norm(v, g, 2), f(4, 3, 5), f(1, 1, 5))
for options in ({}, {"strides": [2, 2], "pads": [1, 1, 0, 1]}, {"strides": [2, 1], "output_padding": [1, 0]}):
    onnx_case("ConvTranspose", f(1, 5, 4, 6), f(5, 3, 3, 2).const(), **options)
