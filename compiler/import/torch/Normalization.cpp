//===- Normalization.cpp - ATen's norms, pools and resizes ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Call.h"

using namespace llvm;

namespace marver::torch {
namespace {

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

Value batchNorm(Call &c) {
  if (c.boolean("training"))
    return c.fail("it is in training mode; call eval() before the export");
  if (!c.has("running_mean") || !c.has("running_var"))
    return c.fail("it has no running statistics");
  return c.b.batchNorm(c.tensor("input"), c.optionalTensor("weight"),
                       c.optionalTensor("bias"), c.tensor("running_mean"),
                       c.tensor("running_var"), c.number("eps", 1e-5));
}

/// The statistics of a batch are empty outside training.
Value batchNormWithStatistics(Call &c) {
  c.results = {batchNorm(c)};
  for (unsigned i = 1; i < 3; ++i)
    c.results.push_back(c.b.full(c.resultDims(i), 0.0, c.resultElement(i)));
  return nullptr;
}

Value batchNormWithoutStatistics(Call &c) {
  c.results = {c.b.instanceNorm(c.tensor("input"), c.optionalTensor("weight"),
                                c.optionalTensor("bias"),
                                c.number("eps", 1e-5))};
  Value x = c.tensor("input");
  // Over batch and space: the same as an instance norm only for one sample.
  if (x && c.b.known(c.b.dim(x, 0)) != 1)
    return c.fail("statistics of the batch are computed at run time for more "
                  "than one sample; call eval() before the export");
  return nullptr;
}

Value layerNorm(Call &c) {
  return c.b.layerNorm(
      c.tensor("input"), c.optionalTensor("weight"), c.optionalTensor("bias"),
      int64_t(c.dims("normalized_shape").size()), c.number("eps", 1e-5));
}

/// Mean and reciprocal deviation as further results.
Value layerNormWithStatistics(Call &c) {
  c.results = {layerNorm(c)};
  return nullptr;
}

Value rmsNorm(Call &c) {
  Value x = c.tensor("input");
  if (!x)
    return nullptr;
  double epsilon = c.typeOf("input") == ScalarType::Double ? 0x1p-52 : 0x1p-23;
  return c.b.rmsNorm(x, c.optionalTensor("weight"),
                     int64_t(c.dims("normalized_shape").size()),
                     c.number("eps", epsilon));
}

Value groupNorm(Call &c) {
  return c.b.groupNorm(c.tensor("input"), c.optionalTensor("weight"),
                       c.optionalTensor("bias"), c.integer("num_groups"),
                       c.number("eps", 1e-5));
}

Value groupNormWithStatistics(Call &c) {
  c.results = {c.b.groupNorm(c.tensor("input"), c.optionalTensor("weight"),
                             c.optionalTensor("bias"), c.integer("group"),
                             c.number("eps", 1e-5))};
  return nullptr;
}

Value instanceNorm(Call &c) {
  if (!c.boolean("use_input_stats", true))
    return batchNorm(c);
  return c.b.instanceNorm(c.tensor("input"), c.optionalTensor("weight"),
                          c.optionalTensor("bias"), c.number("eps", 1e-5));
}

//===----------------------------------------------------------------------===//
// Pools
//===----------------------------------------------------------------------===//

/// Runs `body` on x with a batch dim, which pools may lack.
Value batched(Call &c, int64_t spatial, function_ref<Value(Value)> body) {
  Value x = c.tensor("self");
  if (!x)
    return nullptr;
  const int64_t rank = c.b.rankOf(x);
  if (rank != spatial + 1 && rank != spatial + 2)
    return c.fail("the input has rank " + Twine(rank));
  if (rank == spatial + 2)
    return body(x);
  Value result = body(c.b.unsqueeze(x, {0}));
  return result ? c.b.squeeze(result, {0}) : nullptr;
}

template <int spatial, mv::PoolKind kind> Value pool(Call &c) {
  PoolOptions options;
  options.window = c.ints("kernel_size", spatial, 1);
  options.strides = c.has("stride") && !c.dims("stride").empty()
                        ? c.ints("stride", spatial, 1)
                        : options.window;
  options.dilations = c.ints("dilation", spatial, 1);
  options.pads = c.ints("padding", spatial, 0);
  options.pads.append(options.pads.begin(), options.pads.begin() + spatial);
  options.ceilMode = c.boolean("ceil_mode");
  options.countIncludePad = c.boolean("count_include_pad", true);
  if (c.has("divisor_override"))
    options.divisor = c.integer("divisor_override");
  if (c.b.failed())
    return nullptr;
  return batched(c, spatial, [&](Value x) {
    return kind == mv::PoolKind::Max ? c.b.maxPool(x, options)
                                     : c.b.averagePool(x, options);
  });
}

/// The positions of the maxima are not computed; using them is an error.
template <int spatial> Value maxPoolWithIndices(Call &c) {
  c.results = {pool<spatial, mv::PoolKind::Max>(c)};
  return nullptr;
}

template <int spatial, mv::PoolKind kind> Value adaptivePool(Call &c) {
  // None keeps a dim's size; it is in the file's sizes like all others.
  SmallVector<int64_t> sizes;
  Dims dims = c.resultDims();
  if (int64_t(dims.size()) < spatial)
    return c.fail("the result has too few dims");
  for (Dim dim : ArrayRef<Dim>(dims).take_back(spatial)) {
    std::optional<int64_t> size = c.b.known(dim);
    if (!size)
      return c.fail("its result has a dynamic size");
    sizes.push_back(*size);
  }
  return batched(c, spatial,
                 [&](Value x) { return c.b.adaptivePool(kind, x, sizes); });
}

template <int spatial> Value adaptiveMaxPool(Call &c) {
  c.results = {adaptivePool<spatial, mv::PoolKind::Max>(c)};
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Resizes
//===----------------------------------------------------------------------===//

Value resize(Call &c, int64_t spatial, ResizeOptions options) {
  Value x = c.tensor(c.has("input") ? "input" : "self");
  Dims dims = c.resultDims();
  if (!x || c.b.failed())
    return nullptr;
  if (int64_t(dims.size()) != spatial + 2 || c.b.rankOf(x) != spatial + 2)
    return c.fail("the tensors have to be of rank " + Twine(spatial + 2));
  // A stated factor is used as it is; one that is only implied is the sizes'
  // quotient.
  if (c.has("scale_factors")) {
    const Argument &factors = *c.find("scale_factors");
    for (const Argument &factor : factors.list)
      if (factor.kind == Argument::Float)
        options.scales.push_back(factor.number);
  } else {
    static const char *const names[] = {"scales_d", "scales_h", "scales_w"};
    if (spatial == 1 && c.has("scales"))
      options.scales.push_back(c.number("scales"));
    else
      for (const char *name : ArrayRef(names).take_back(spatial))
        if (c.has(name))
          options.scales.push_back(c.number(name));
  }
  if (int64_t(options.scales.size()) != spatial)
    options.scales.clear();
  SmallVector<int64_t> axes;
  for (int64_t i = 0; i < spatial; ++i)
    axes.push_back(2 + i);
  return c.b.resize(x, axes, ArrayRef<Dim>(dims).drop_front(2), options);
}

template <int spatial> Value nearest(Call &c) {
  ResizeOptions options;
  options.mode = mv::ResizeMode::Nearest;
  options.coordinates = ResizeOptions::Asymmetric;
  options.nearest = ResizeOptions::Floor;
  return resize(c, spatial, options);
}

template <int spatial> Value nearestExact(Call &c) {
  ResizeOptions options;
  options.mode = mv::ResizeMode::Nearest;
  options.coordinates = ResizeOptions::HalfPixel;
  options.nearest = ResizeOptions::RoundPreferCeil;
  return resize(c, spatial, options);
}

template <int spatial, mv::ResizeMode mode> Value interpolate(Call &c) {
  ResizeOptions options;
  options.mode = mode;
  options.coordinates = c.boolean("align_corners") ? ResizeOptions::AlignCorners
                                                   : ResizeOptions::HalfPixel;
  return resize(c, spatial, options);
}

constexpr OpEntry entries[] = {
    {"aten.batch_norm.default", batchNorm},
    {"aten.native_batch_norm.default", batchNormWithStatistics},
    {"aten._native_batch_norm_legit.default", batchNormWithStatistics},
    {"aten._native_batch_norm_legit.no_stats", batchNormWithoutStatistics},
    {"aten._native_batch_norm_legit_no_training.default",
     batchNormWithStatistics},
    {"aten.layer_norm.default", layerNorm},
    {"aten.native_layer_norm.default", layerNormWithStatistics},
    {"aten.rms_norm.default", rmsNorm},
    {"aten.group_norm.default", groupNorm},
    {"aten.native_group_norm.default", groupNormWithStatistics},
    {"aten.instance_norm.default", instanceNorm},

    {"aten.max_pool1d.default", pool<1, mv::PoolKind::Max>},
    {"aten.max_pool2d.default", pool<2, mv::PoolKind::Max>},
    {"aten.max_pool3d.default", pool<3, mv::PoolKind::Max>},
    {"aten.max_pool1d_with_indices.default", maxPoolWithIndices<1>},
    {"aten.max_pool2d_with_indices.default", maxPoolWithIndices<2>},
    {"aten.max_pool3d_with_indices.default", maxPoolWithIndices<3>},
    {"aten.avg_pool1d.default", pool<1, mv::PoolKind::Average>},
    {"aten.avg_pool2d.default", pool<2, mv::PoolKind::Average>},
    {"aten.avg_pool3d.default", pool<3, mv::PoolKind::Average>},
    {"aten.adaptive_avg_pool1d.default",
     adaptivePool<1, mv::PoolKind::Average>},
    {"aten.adaptive_avg_pool2d.default",
     adaptivePool<2, mv::PoolKind::Average>},
    {"aten.adaptive_avg_pool3d.default",
     adaptivePool<3, mv::PoolKind::Average>},
    {"aten._adaptive_avg_pool2d.default",
     adaptivePool<2, mv::PoolKind::Average>},
    {"aten._adaptive_avg_pool3d.default",
     adaptivePool<3, mv::PoolKind::Average>},
    {"aten.adaptive_max_pool1d.default", adaptiveMaxPool<1>},
    {"aten.adaptive_max_pool2d.default", adaptiveMaxPool<2>},
    {"aten.adaptive_max_pool3d.default", adaptiveMaxPool<3>},

    {"aten.upsample_nearest1d.default", nearest<1>},
    {"aten.upsample_nearest1d.vec", nearest<1>},
    {"aten.upsample_nearest2d.default", nearest<2>},
    {"aten.upsample_nearest2d.vec", nearest<2>},
    {"aten.upsample_nearest3d.default", nearest<3>},
    {"aten.upsample_nearest3d.vec", nearest<3>},
    {"aten._upsample_nearest_exact1d.default", nearestExact<1>},
    {"aten._upsample_nearest_exact1d.vec", nearestExact<1>},
    {"aten._upsample_nearest_exact2d.default", nearestExact<2>},
    {"aten._upsample_nearest_exact2d.vec", nearestExact<2>},
    {"aten.upsample_linear1d.default", interpolate<1, mv::ResizeMode::Linear>},
    {"aten.upsample_linear1d.vec", interpolate<1, mv::ResizeMode::Linear>},
    {"aten.upsample_bilinear2d.default",
     interpolate<2, mv::ResizeMode::Linear>},
    {"aten.upsample_bilinear2d.vec", interpolate<2, mv::ResizeMode::Linear>},
    {"aten.upsample_trilinear3d.default",
     interpolate<3, mv::ResizeMode::Linear>},
    {"aten.upsample_trilinear3d.vec", interpolate<3, mv::ResizeMode::Linear>},
    {"aten.upsample_bicubic2d.default", interpolate<2, mv::ResizeMode::Cubic>},
    {"aten.upsample_bicubic2d.vec", interpolate<2, mv::ResizeMode::Cubic>},
};

} // namespace

void addNormalization(OpTable &table) {
  for (const OpEntry &entry : entries)
    table[entry.name] = entry.handler;
}

} // namespace marver::torch
