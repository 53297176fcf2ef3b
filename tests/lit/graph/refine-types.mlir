// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-refine-types,canonicalize))' --split-input-file %s | FileCheck %s

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>

// Through a convolution, an elementwise operation and a resize to the result.
// CHECK-LABEL: func @chain
// CHECK-SAME: -> tensor<1x4x12xf32>
// CHECK: mv.conv {{.*}} -> tensor<1x4x6xf32>
// CHECK: linalg.generic {{.*}} outs(%{{.+}} : tensor<1x4x6xf32>)
// CHECK: mv.resize nearest %{{.+}} {{.*}} : tensor<1x4x6xf32> -> tensor<1x4x12xf32>
// CHECK-NOT: mv.check
// CHECK-NOT: tensor.cast
func.func @chain(%x: tensor<1x3x8xf32>, %w: tensor<4x3x3xf32>) -> tensor<?x4x?xf32> attributes {mv.entry} {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c12 = arith.constant 12 : index
  %true = arith.constant true
  %c = tensor.cast %x : tensor<1x3x8xf32> to tensor<?x3x?xf32>
  mv.check %true, 4, "channels"
  %y = mv.conv %c, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<?x3x?xf32>, tensor<4x3x3xf32>) -> tensor<?x4x?xf32>
  %n = tensor.dim %y, %c0 : tensor<?x4x?xf32>
  %s = tensor.dim %y, %c2 : tensor<?x4x?xf32>
  %e = tensor.empty(%n, %s) : tensor<?x4x?xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%y : tensor<?x4x?xf32>) outs(%e : tensor<?x4x?xf32>) {
  ^bb0(%a: f32, %o: f32):
    %m = math.absf %a : f32
    linalg.yield %m : f32
  } -> tensor<?x4x?xf32>
  %z = mv.resize nearest %r sizes %c12 {steps = array<f64: 0.5>, offsets = array<f64: 0.0>, shifts = array<f64: 0.0>, nearest_bias = 0.0 : f64} : tensor<?x4x?xf32> -> tensor<?x4x?xf32>
  return %z : tensor<?x4x?xf32>
}

// -----

// CHECK-LABEL: func @reshape
// CHECK: %[[C:.+]] = tensor.collapse_shape %{{.+}} {{\[\[}}0], [1, 2], [3]] : tensor<2x3x4x5xf32> into tensor<2x12x5xf32>
// CHECK: %[[E:.+]] = tensor.expand_shape %[[C]] {{\[\[}}0], [1, 2], [3, 4]] output_shape [2, 6, 2, 5, 1]
// CHECK: return %[[E]]
func.func @reshape(%x: tensor<2x3x4x5xf32>) -> tensor<?x?x2x?x1xf32> attributes {mv.entry} {
  %shape = arith.constant dense<[2, 6, 2, 5, 1]> : tensor<5xindex>
  %r = tensor.reshape %x(%shape) : (tensor<2x3x4x5xf32>, tensor<5xindex>) -> tensor<?x?x2x?x1xf32>
  return %r : tensor<?x?x2x?x1xf32>
}

// -----

// A condition that is false is the run's to report.
// CHECK-LABEL: func @check
// CHECK: mv.check
func.func @check() {
  %false = arith.constant false
  mv.check %false, 4, "channels"
  return
}
