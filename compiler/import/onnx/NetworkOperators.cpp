//===- NetworkOperators.cpp - Layers of ONNX -===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Node.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

/// Pads that `auto_pad` asks for: puts them into `pads` where they are numbers,
/// else pads x itself with `fill`. False after an error.
static bool applyAutoPad(NodeBuilder &n, Value &x, ArrayRef<int64_t> kernel,
                         ArrayRef<int64_t> strides, ArrayRef<int64_t> dilations,
                         SmallVector<int64_t> &pads, Value fill) {
  StringRef mode = n.text("auto_pad", "NOTSET");
  size_t spatial = kernel.size();
  if (mode == "NOTSET" || mode.empty())
    return true;
  pads.assign(2 * spatial, 0);
  if (mode == "VALID")
    return true;
  if (mode != "SAME_UPPER" && mode != "SAME_LOWER") {
    n.fail("auto_pad '" + printable(mode) + "' is not supported");
    return false;
  }
  int64_t rank = OpsBuilder::rankOf(x);
  Dims low(rank, n.ops.index(0)), high = low;
  bool isKnown = true;
  for (size_t i = 0; i < spatial; ++i) {
    int64_t stride = strides.empty() ? 1 : strides[i];
    int64_t dilation = dilations.empty() ? 1 : dilations[i];
    if (stride < 1 || dilation < 1 || kernel[i] < 1 || kernel[i] > (1 << 20) ||
        dilation > (1 << 20)) {
      n.fail("has strides, dilations or sizes that make no sense");
      return false;
    }
    // As many windows as the input has strides, the last one complete.
    Dim size = n.ops.dim(x, i + 2);
    int64_t reach = dilation * (kernel[i] - 1) + 1;
    Dim count = n.ops.ceilDiv(size, n.ops.index(stride));
    Dim covered = n.ops.add(
        n.ops.mul(n.ops.sub(count, n.ops.index(1)), n.ops.index(stride)),
        n.ops.index(reach));
    Dim total = stride == 1
                    ? n.ops.index(reach - 1)
                    : n.ops.max(n.ops.index(0), n.ops.sub(covered, size));
    Dim half = n.ops.floorDiv(total, n.ops.index(2)),
        rest = n.ops.sub(total, half);
    low[i + 2] = mode == "SAME_UPPER" ? half : rest;
    high[i + 2] = mode == "SAME_UPPER" ? rest : half;
    if (auto number = OpsBuilder::known(total)) {
      pads[i] = *OpsBuilder::known(low[i + 2]);
      pads[i + spatial] = *OpsBuilder::known(high[i + 2]);
    } else {
      isKnown = false;
    }
  }
  if (isKnown)
    return true;
  if (!fill) {
    n.fail("has auto_pad on dims that are only known when the model runs");
    return false;
  }
  pads.assign(2 * spatial, 0);
  x = n.ops.pad(x, low, high, PadMode::Constant, fill);
  return x != nullptr;
}

/// Spatial sizes of a filter, which may be stated again in `kernel_shape`.
static std::optional<SmallVector<int64_t>> kernelOf(NodeBuilder &n,
                                                    Value filter) {
  SmallVector<int64_t> sizes;
  for (int64_t i = 2; i < OpsBuilder::rankOf(filter); ++i) {
    auto size = OpsBuilder::known(n.ops.dim(filter, i));
    if (!size) {
      n.fail("needs a filter whose sizes are known");
      return std::nullopt;
    }
    sizes.push_back(*size);
  }
  SmallVector<int64_t> stated = n.integers("kernel_shape");
  if (!stated.empty() && stated != sizes) {
    n.fail("has a kernel_shape that its filter does not have");
    return std::nullopt;
  }
  return sizes;
}

/// What Conv and ConvTranspose have in common. Nothing if it is not valid: the
/// node has then been told so.
struct ConvNode {
  Value input, filter;
  SmallVector<int64_t> kernel;
  ConvOptions options;
};

static std::optional<ConvNode> readConv(NodeBuilder &n) {
  ConvNode node;
  node.input = n.in(0);
  node.filter = n.in(1);
  if (!node.input || !node.filter)
    return std::nullopt;
  if (OpsBuilder::rankOf(node.input) < 3 ||
      OpsBuilder::rankOf(node.filter) != OpsBuilder::rankOf(node.input)) {
    n.fail("needs an input of rank 3 or more and a filter of the same rank");
    return std::nullopt;
  }
  auto kernel = kernelOf(n, node.filter);
  if (!kernel)
    return std::nullopt;
  node.kernel = *kernel;
  node.options.strides = n.integers("strides");
  node.options.dilations = n.integers("dilations");
  node.options.pads = n.integers("pads");
  node.options.groups = n.integer("group", 1);
  return node;
}

static void conv(NodeBuilder &n) {
  std::optional<ConvNode> node = readConv(n);
  if (!node)
    return;
  auto &[x, filter, kernel, options] = *node;
  Value zero = n.ops.scalar(0, OpsBuilder::elementOf(x));
  if (!applyAutoPad(n, x, kernel, options.strides, options.dilations,
                    options.pads, zero))
    return;
  n.set(n.ops.conv(x, filter, n.optional(2), options));
}

static void convTranspose(NodeBuilder &n) {
  std::optional<ConvNode> node = readConv(n);
  if (!node)
    return;
  auto &[x, filter, kernel, options] = *node;
  SmallVector<int64_t> outputPadding = n.integers("output_padding");
  SmallVector<int64_t> outputShape = n.integers("output_shape");
  StringRef mode = n.text("auto_pad", "NOTSET");
  size_t spatial = kernel.size();
  auto fits = [&](ArrayRef<int64_t> list) {
    return list.empty() || list.size() == spatial;
  };
  if (!fits(options.strides) || !fits(options.dilations) ||
      !fits(outputPadding))
    return n.fail("has attributes of another length than its filter has dims");
  bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (!outputShape.empty() || same) {
    // The pads that give this output size.
    if (outputShape.size() == spatial + 2)
      outputShape.erase(outputShape.begin(), outputShape.begin() + 2);
    if (!fits(outputShape))
      return n.fail(
          "has an output_shape of another length than its filter has dims");
    options.pads.assign(2 * spatial, 0);
    for (size_t i = 0; i < spatial; ++i) {
      auto size = OpsBuilder::known(n.ops.dim(x, i + 2));
      int64_t stride = options.strides.empty() ? 1 : options.strides[i];
      int64_t dilation = options.dilations.empty() ? 1 : options.dilations[i];
      int64_t extra = outputPadding.empty() ? 0 : outputPadding[i];
      if (!size)
        return n.fail(
            "needs an input whose sizes are known for its output_shape");
      int64_t wanted = outputShape.empty() ? *size * stride : outputShape[i];
      int64_t total = stride * (*size - 1) + extra +
                      dilation * (kernel[i] - 1) + 1 - wanted;
      // More than the convolution gives is added behind.
      if (total < 0) {
        outputPadding.resize(spatial, 0);
        outputPadding[i] -= total;
        total = 0;
      }
      int64_t half = total / 2;
      options.pads[i] = mode == "SAME_UPPER" ? half : total - half;
      options.pads[i + spatial] = total - options.pads[i];
    }
  }
  n.set(n.ops.convTranspose(x, filter, n.optional(2), options, outputPadding));
}

static std::optional<PoolOptions> poolOptions(NodeBuilder &n, Value &x,
                                              Value fill) {
  PoolOptions options;
  options.window = n.integers("kernel_shape");
  options.strides = n.integers("strides");
  options.dilations = n.integers("dilations");
  options.pads = n.integers("pads");
  options.ceilMode = n.integer("ceil_mode", 0) != 0;
  options.countIncludePad = n.integer("count_include_pad", 0) != 0;
  if (OpsBuilder::rankOf(x) < 3 ||
      int64_t(options.window.size()) != OpsBuilder::rankOf(x) - 2) {
    n.fail("needs a kernel_shape with a size for each spatial dim");
    return std::nullopt;
  }
  auto fits = [&](ArrayRef<int64_t> list) {
    return list.empty() || list.size() == options.window.size();
  };
  if (!fits(options.strides) || !fits(options.dilations)) {
    n.fail("has attributes of another length than its kernel_shape");
    return std::nullopt;
  }
  if (!applyAutoPad(n, x, options.window, options.strides, options.dilations,
                    options.pads, fill))
    return std::nullopt;
  return options;
}

static void maxPool(NodeBuilder &n) {
  if (n.wants(1))
    return n.fail("the result Indices is not supported");
  Value x = n.in(0);
  if (!x)
    return;
  Value lowest = OpsBuilder::isFloat(x)
                     ? n.ops.scalar(-INFINITY, OpsBuilder::elementOf(x))
                     : nullptr;
  auto options = poolOptions(n, x, lowest);
  if (!options)
    return;
  // Signed order; unsigned integers keep it when shifted by half their range.
  if (!n.isUnsigned(0))
    return n.set(n.ops.maxPool(x, *options));
  mlir::Type element = OpsBuilder::elementOf(x);
  mlir::Type wide = element.getIntOrFloatBitWidth() < 32
                        ? mlir::Type(n.ops.getI32Type())
                        : mlir::Type(n.ops.getI64Type());
  Value pooled = n.ops.maxPool(n.ops.cast(x, wide, true), *options);
  n.setLike(n.ops.cast(pooled, element, false, true));
}

static void averagePool(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  if (auto options = poolOptions(n, x, nullptr))
    n.set(n.ops.averagePool(x, *options));
}

static void lpPool(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  Value zero = n.ops.scalar(0, OpsBuilder::elementOf(x));
  if (auto options = poolOptions(n, x, zero))
    n.set(n.ops.lpPool(x, *options, double(n.integer("p", 2))));
}

template <mv::PoolKind kind> static void globalPool(NodeBuilder &n) {
  n.set(n.ops.globalPool(kind, n.in(0)));
}

static void globalLpPool(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  if (OpsBuilder::rankOf(x) < 3)
    return n.fail("needs a tensor of rank 3 or more");
  auto axes = llvm::to_vector(llvm::seq<int64_t>(2, OpsBuilder::rankOf(x)));
  n.set(
      n.ops.vectorNorm(x, double(n.integer("p", 2)), axes, /*keepDims=*/true));
}

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

static void gemm(NodeBuilder &n) {
  n.set(n.ops.gemm(n.in(0), n.in(1), n.optional(2), n.real("alpha", 1),
                   n.real("beta", 1), n.integer("transA", 0) != 0,
                   n.integer("transB", 0) != 0));
}

static void matmul(NodeBuilder &n) { n.set(n.ops.matmul(n.in(0), n.in(1))); }

static void einsum(NodeBuilder &n) {
  n.set(n.ops.einsum(n.text("equation", ""), n.allInputs()));
}

//===----------------------------------------------------------------------===//
// Normalizations
//===----------------------------------------------------------------------===//

static void batchNorm(NodeBuilder &n) {
  if (n.integer("training_mode", 0) != 0)
    return n.fail("training mode is not supported");
  if (n.opset < 9 && n.integer("spatial", 1) != 1)
    return n.fail("the attribute spatial = 0 is not supported");
  for (size_t i = 1; i < n.node.outputs.size(); ++i)
    if (n.wants(i))
      return n.fail("results of training are not supported");
  n.set(n.ops.batchNorm(n.in(0), n.in(1), n.in(2), n.in(3), n.in(4),
                        n.real("epsilon", 1e-5)));
}

static void instanceNorm(NodeBuilder &n) {
  n.set(n.ops.instanceNorm(n.in(0), n.in(1), n.in(2), n.real("epsilon", 1e-5)));
}

static void groupNorm(NodeBuilder &n) {
  Value x = n.in(0), scale = n.in(1), bias = n.in(2);
  int64_t groups = n.integer("num_groups", 0);
  if (!x || !scale || !bias)
    return;
  if (OpsBuilder::rankOf(x) < 2 || groups < 1)
    return n.fail("needs a tensor of rank 2 or more, and num_groups");
  // Up to set 20 the parameters were per group.
  if (n.opset < 21) {
    Dim perGroup = n.ops.floorDiv(n.ops.dim(x, 1), n.ops.index(groups));
    scale = n.ops.repeatInterleave(scale, 0, perGroup);
    bias = n.ops.repeatInterleave(bias, 0, perGroup);
  }
  n.set(n.ops.groupNorm(x, scale, bias, groups, n.real("epsilon", 1e-5)));
}

static void layerNorm(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  int64_t rank = OpsBuilder::rankOf(x);
  auto axis = n.ops.axis(n.integer("axis", -1), rank);
  if (!axis)
    return;
  double epsilon = n.real("epsilon", 1e-5);
  n.set(n.ops.layerNorm(x, n.in(1), n.optional(2), rank - *axis, epsilon));
  if (!n.wants(1) && !n.wants(2))
    return;
  auto axes = llvm::to_vector(llvm::seq<int64_t>(*axis, rank));
  mlir::Type stash = n.ops.getF32Type();
  Value wide = n.ops.cast(x, stash);
  n.set(1, n.ops.reduce(Reduce::Mean, wide, axes, /*keepDims=*/true));
  Value variance = n.ops.variance(wide, axes, 0, /*keepDims=*/true);
  n.set(2, n.ops.unary(Unary::Rsqrt,
                       n.ops.add(variance, n.ops.scalar(epsilon, stash))));
}

static void rmsNorm(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  auto axis = n.ops.axis(n.integer("axis", -1), OpsBuilder::rankOf(x));
  if (axis)
    n.set(n.ops.rmsNorm(x, n.in(1), OpsBuilder::rankOf(x) - *axis,
                        n.real("epsilon", 1e-5)));
}

static void meanVarianceNorm(NodeBuilder &n) {
  Value x = n.in(0);
  if (!x)
    return;
  SmallVector<int64_t> axes = n.integers("axes");
  if (!n.hasAttribute("axes"))
    axes = {0, 2, 3};
  Value mean = n.ops.reduce(Reduce::Mean, x, axes, /*keepDims=*/true);
  Value deviation = n.ops.unary(Unary::Sqrt, n.ops.variance(x, axes, 0, true));
  Value floor = n.ops.scalar(1e-9, OpsBuilder::elementOf(x));
  n.set(n.ops.div(n.ops.sub(x, mean), n.ops.add(deviation, floor)));
}

static void localResponseNorm(NodeBuilder &n) {
  n.set(n.ops.localResponseNorm(n.in(0), n.integer("size", 1),
                                n.real("alpha", 1e-4), n.real("beta", 0.75),
                                n.real("bias", 1)));
}

static void lpNormalize(NodeBuilder &n) {
  n.set(n.ops.lpNormalize(n.in(0), double(n.integer("p", 2)),
                          n.integer("axis", -1), 0));
}

/// Pairs of numbers turned by an angle: (a, b) to (a cos - b sin, b cos + a
/// sin).
static void rotaryEmbedding(NodeBuilder &n) {
  Value x = n.in(0), cosines = n.in(1), sines = n.in(2);
  if (!x || !cosines || !sines)
    return;
  int64_t heads = n.integer("num_heads", 0), rank = OpsBuilder::rankOf(x);
  Dims shape = n.ops.dims(x);
  Value rows = x; // B x T x H x D
  if (rank == 4)
    rows = n.ops.transpose(x, {0, 2, 1, 3});
  else if (rank == 3 && heads > 0)
    rows = n.ops.reshape(x, {shape[0], shape[1], n.ops.index(heads),
                             n.ops.floorDiv(shape[2], n.ops.index(heads))});
  else
    return n.fail("needs an input of rank 4, or of rank 3 and num_heads");
  if (n.has(3)) {
    cosines = n.ops.gather(cosines, n.in(3), 0);
    sines = n.ops.gather(sines, n.in(3), 0);
  }
  if (!cosines || !sines || !rows)
    return;
  if (OpsBuilder::rankOf(cosines) != 3)
    return n.fail("needs caches of rank 3 (2 with position_ids)");
  Dim size = n.ops.dim(rows, 3);
  int64_t turned = n.integer("rotary_embedding_dim", 0);
  Dim width = turned > 0 ? n.ops.index(turned) : size;
  Dim half = n.ops.floorDiv(width, n.ops.index(2));
  Value active = n.ops.narrow(rows, 3, n.ops.index(0), width);
  Value rest = n.ops.narrow(rows, 3, width, n.ops.sub(size, width));
  Value c =
      n.ops.unsqueeze(n.ops.narrow(cosines, 2, n.ops.index(0), half), {2});
  Value s = n.ops.unsqueeze(n.ops.narrow(sines, 2, n.ops.index(0), half), {2});
  bool interleaved = n.integer("interleaved", 0) != 0;
  Value a, b;
  if (interleaved) {
    Dims pairs = n.ops.dims(active);
    pairs.back() = half;
    pairs.push_back(n.ops.index(2));
    Value split = n.ops.reshape(active, pairs);
    a = n.ops.select(split, 4, n.ops.index(0));
    b = n.ops.select(split, 4, n.ops.index(1));
  } else {
    a = n.ops.narrow(active, 3, n.ops.index(0), half);
    b = n.ops.narrow(active, 3, half, half);
  }
  Value real = n.ops.sub(n.ops.mul(a, c), n.ops.mul(b, s));
  Value imaginary = n.ops.add(n.ops.mul(b, c), n.ops.mul(a, s));
  Value result = interleaved ? n.ops.reshape(n.ops.stack({real, imaginary}, 4),
                                             n.ops.dims(active))
                             : n.ops.concat({real, imaginary}, 3);
  result = n.ops.concat({result, rest}, 3);
  n.set(rank == 4 ? n.ops.transpose(result, {0, 2, 1, 3})
                  : n.ops.reshape(result, shape));
}

llvm::ArrayRef<Operator> marver::onnx::networkOperators() {
  static const Operator table[] = {
      {"AveragePool", averagePool},
      {"BatchNormalization", batchNorm},
      {"Conv", conv},
      {"ConvTranspose", convTranspose},
      {"Einsum", einsum},
      {"Gemm", gemm},
      {"GlobalAveragePool", globalPool<mv::PoolKind::Average>},
      {"GlobalLpPool", globalLpPool},
      {"GlobalMaxPool", globalPool<mv::PoolKind::Max>},
      {"GroupNormalization", groupNorm},
      {"InstanceNormalization", instanceNorm},
      {"LRN", localResponseNorm},
      {"LayerNormalization", layerNorm},
      {"LpNormalization", lpNormalize},
      {"LpPool", lpPool},
      {"MatMul", matmul},
      {"MaxPool", maxPool},
      {"MeanVarianceNormalization", meanVarianceNorm},
      {"RMSNormalization", rmsNorm},
      {"RotaryEmbedding", rotaryEmbedding},
  };
  return table;
}
