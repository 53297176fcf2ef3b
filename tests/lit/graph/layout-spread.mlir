// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-layout{lanes=4},canonicalize,cse))' --split-input-file %s | FileCheck %s

// How the layout spreads from a convolution. In each function %y is a blocked
// 1x1 convolution.

#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#nc = affine_map<(d0, d1, d2, d3) -> (d0, d1)>
#b = affine_map<(d0, d1, d2, d3) -> (d0, d1, 0, 0)>
#c = affine_map<(d0, d1, d2, d3) -> (d1)>

// Squeeze and excite: mean, a 1x1 convolution on it, product. The per-channel
// constant is blocked at compile time.
// CHECK-DAG: #[[$CB:.+]] = affine_map<(d0, d1, d2, d3, d4) -> (d1, d4)>
// CHECK-DAG: #[[$S:.+]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, 0, 0, d4)>
// CHECK-LABEL: func @squeeze
// CHECK: %[[Y:.+]] = mv.packed_conv
// CHECK: %[[F:.+]] = linalg.fill {{.*}} tensor<1x2x4xf32>
// CHECK: %[[M:.+]] = linalg.generic {{.*}}"parallel", "parallel", "reduction", "reduction", "parallel"]} ins(%[[Y]] : tensor<1x2x3x3x4xf32>) outs(%[[F]]
// CHECK: %[[E:.+]] = tensor.expand_shape %[[M]] {{\[\[}}0], [1, 2, 3], [4]] output_shape [1, 2, 1, 1, 4]
// CHECK: %[[G:.+]] = mv.packed_conv %[[E]]
// CHECK: linalg.generic {indexing_maps = [#{{.+}}, #[[$S]], #[[$CB]], #{{.+}}]{{.*}} ins(%[[Y]], %[[G]], %{{.+}} : tensor<1x2x3x3x4xf32>, tensor<1x2x1x1x4xf32>, tensor<2x4xf32>)
// CHECK-NOT: linalg.pack
func.func @squeeze(%x: tensor<1x3x3x3xf32>) -> tensor<1x6x3x3xf32> {
  %w = arith.constant dense<0.5> : tensor<6x3x1x1xf32>
  %w1 = arith.constant dense<0.5> : tensor<6x6x1x1xf32>
  %k = arith.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> : tensor<6xf32>
  %zero = arith.constant 0.0 : f32
  %y = mv.conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : (tensor<1x3x3x3xf32>, tensor<6x3x1x1xf32>) -> tensor<1x6x3x3xf32>
  %em = tensor.empty() : tensor<1x6xf32>
  %f = linalg.fill ins(%zero : f32) outs(%em : tensor<1x6xf32>) -> tensor<1x6xf32>
  %m = linalg.generic {indexing_maps = [#id, #nc], iterator_types = ["parallel", "parallel", "reduction", "reduction"]} ins(%y : tensor<1x6x3x3xf32>) outs(%f : tensor<1x6xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.addf %a, %o : f32
    linalg.yield %s : f32
  } -> tensor<1x6xf32>
  %ex = tensor.expand_shape %m [[0], [1, 2, 3]] output_shape [1, 6, 1, 1] : tensor<1x6xf32> into tensor<1x6x1x1xf32>
  %g = mv.conv %ex, %w1 {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : (tensor<1x6x1x1xf32>, tensor<6x6x1x1xf32>) -> tensor<1x6x1x1xf32>
  %e = tensor.empty() : tensor<1x6x3x3xf32>
  %r = linalg.generic {indexing_maps = [#id, #b, #c, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%y, %g, %k : tensor<1x6x3x3xf32>, tensor<1x6x1x1xf32>, tensor<6xf32>) outs(%e : tensor<1x6x3x3xf32>) {
  ^bb0(%a: f32, %s: f32, %t: f32, %o: f32):
    %p = arith.mulf %a, %s : f32
    %q = arith.addf %p, %t : f32
    linalg.yield %q : f32
  } -> tensor<1x6x3x3xf32>
  return %r : tensor<1x6x3x3xf32>
}

// -----

// Pool, resize, slices and concats of whole blocks, pads.
// CHECK-LABEL: func @shapes
// CHECK: %[[Y:.+]] = mv.packed_conv
// CHECK: %[[P:.+]] = mv.pool max %[[Y]] {blocked, {{.*}} -> tensor<1x2x2x2x4xf32>
// CHECK: %[[R:.+]] = mv.resize nearest %[[P]] {blocked, {{.*}} -> tensor<1x2x4x4x4xf32>
// CHECK: %[[S:.+]] = tensor.extract_slice %[[R]][0, 1, 0, 0, 0] [1, 1, 4, 4, 4] [1, 1, 1, 1, 1]
// CHECK: %[[C:.+]] = tensor.concat dim(1) %[[S]], %[[Y]] : (tensor<1x1x4x4x4xf32>, tensor<1x2x4x4x4xf32>) -> tensor<1x3x4x4x4xf32>
// CHECK: %[[Q:.+]] = tensor.pad %[[C]] low[0, 0, 1, 0, 0] high[0, 0, 0, 0, 0]
// CHECK: linalg.unpack %[[Q]]
// CHECK-NOT: linalg.pack
// CHECK-NOT: linalg.unpack
func.func @shapes(%x: tensor<1x3x4x4xf32>) -> tensor<1x12x5x4xf32> {
  %w = arith.constant dense<0.5> : tensor<8x3x1x1xf32>
  %one = arith.constant 1.0 : f32
  %y = mv.conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : (tensor<1x3x4x4xf32>, tensor<8x3x1x1xf32>) -> tensor<1x8x4x4xf32>
  %p = mv.pool max %y {window = array<i64: 2, 2>, strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x8x4x4xf32>) -> tensor<1x8x2x2xf32>
  %r = mv.resize nearest %p {steps = array<f64: 0.5, 0.5>, offsets = array<f64: 0.0, 0.0>, shifts = array<f64: 0.0, 0.0>, nearest_bias = 0.0 : f64} : tensor<1x8x2x2xf32> -> tensor<1x8x4x4xf32>
  %s = tensor.extract_slice %r[0, 4, 0, 0] [1, 4, 4, 4] [1, 1, 1, 1] : tensor<1x8x4x4xf32> to tensor<1x4x4x4xf32>
  %c = tensor.concat dim(1) %s, %y : (tensor<1x4x4x4xf32>, tensor<1x8x4x4xf32>) -> tensor<1x12x4x4xf32>
  %q = tensor.pad %c low[0, 0, 1, 0] high[0, 0, 0, 0] {
  ^bb0(%a: index, %b: index, %d: index, %e: index):
    tensor.yield %one : f32
  } : tensor<1x12x4x4xf32> to tensor<1x12x5x4xf32>
  return %q : tensor<1x12x5x4xf32>
}

// -----

// A concat whose first part ends inside a block, a slice that starts inside one,
// and a softmax over channels read the plain value, of which there is one.
// CHECK-LABEL: func @unpacked_once
// CHECK: %[[Y:.+]] = mv.packed_conv
// CHECK: %[[U:.+]] = linalg.unpack %[[Y]]
// CHECK-NOT: linalg.unpack
// CHECK: tensor.concat dim(1) %[[U]], %[[U]]
// CHECK: tensor.extract_slice %[[U]][0, 2, 0, 0]
// CHECK: mv.softmax %[[U]]
func.func @unpacked_once(%x: tensor<1x3x4x4xf32>) -> (tensor<1x12x4x4xf32>, tensor<1x4x4x4xf32>, tensor<1x6x4x4xf32>) {
  %w = arith.constant dense<0.5> : tensor<6x3x1x1xf32>
  %y = mv.conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : (tensor<1x3x4x4xf32>, tensor<6x3x1x1xf32>) -> tensor<1x6x4x4xf32>
  %c = tensor.concat dim(1) %y, %y : (tensor<1x6x4x4xf32>, tensor<1x6x4x4xf32>) -> tensor<1x12x4x4xf32>
  %s = tensor.extract_slice %y[0, 2, 0, 0] [1, 4, 4, 4] [1, 1, 1, 1] : tensor<1x6x4x4xf32> to tensor<1x4x4x4xf32>
  %m = mv.softmax %y {dim = 1 : i64} : tensor<1x6x4x4xf32>
  return %c, %s, %m : tensor<1x12x4x4xf32>, tensor<1x4x4x4xf32>, tensor<1x6x4x4xf32>
}

// -----

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#t = affine_map<(d0, d1, d2) -> (d0, d2, d1)>

// To tokens and back without unpacking: whole blocks move.
// CHECK-DAG: #[[$T:.+]] = affine_map<(d0, d1, d2, d3) -> (d0, d2, d1, d3)>
// CHECK-LABEL: func @tokens
// CHECK: %[[Y:.+]] = mv.packed_conv {{.*}} -> tensor<1x2x5x4xf32>
// CHECK: %[[T:.+]] = linalg.generic {indexing_maps = [#[[$T]], #{{.+}}]{{.*}} ins(%[[Y]] : tensor<1x2x5x4xf32>) outs(%{{.+}} : tensor<1x5x2x4xf32>)
// CHECK: %[[R:.+]] = tensor.collapse_shape %[[T]] {{\[\[}}0], [1], [2, 3]]
// CHECK: %[[N:.+]] = mv.layer_norm %[[R]]
// CHECK: %[[E:.+]] = tensor.expand_shape %[[N]] {{\[\[}}0], [1], [2, 3]]
// CHECK: %[[B:.+]] = linalg.generic {indexing_maps = [#[[$T]], #{{.+}}]{{.*}} ins(%[[E]] : tensor<1x5x2x4xf32>) outs(%{{.+}} : tensor<1x2x5x4xf32>)
// CHECK: mv.packed_conv %[[B]]
func.func @tokens(%x: tensor<1x3x5xf32>) -> tensor<1x8x5xf32> {
  %w = arith.constant dense<0.5> : tensor<8x3x1xf32>
  %w1 = arith.constant dense<0.5> : tensor<8x8x1xf32>
  %y = mv.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x3x5xf32>, tensor<8x3x1xf32>) -> tensor<1x8x5xf32>
  %e = tensor.empty() : tensor<1x5x8xf32>
  %t = linalg.generic {indexing_maps = [#t, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%y : tensor<1x8x5xf32>) outs(%e : tensor<1x5x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<1x5x8xf32>
  %n = mv.layer_norm %t {dims = 1 : i64, epsilon = 1.0e-5 : f64} : tensor<1x5x8xf32>
  %e2 = tensor.empty() : tensor<1x8x5xf32>
  %b = linalg.generic {indexing_maps = [#t, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%n : tensor<1x5x8xf32>) outs(%e2 : tensor<1x8x5xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<1x8x5xf32>
  %z = mv.conv %b, %w1 {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x8x5xf32>, tensor<8x8x1xf32>) -> tensor<1x8x5xf32>
  return %z : tensor<1x8x5xf32>
}

// -----

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#t = affine_map<(d0, d1, d2) -> (d0, d2, d1)>

// A detector's head: parts that are no whole blocks, joined, flattened and
// transposed. Each part goes to its columns of the rows; nothing is unpacked.
// CHECK-LABEL: func @head
// CHECK-DAG: %[[A:.+]] = mv.packed_conv {{.*}} -> tensor<1x1x2x2x4xf32>
// CHECK-DAG: %[[B:.+]] = mv.packed_conv {{.*}} -> tensor<1x2x2x2x4xf32>
// CHECK-NOT: linalg.unpack
// CHECK: %[[AC:.+]] = tensor.collapse_shape %[[A]] {{\[\[}}0], [1], [2, 3], [4]]
// CHECK: %[[AT:.+]] = linalg.generic {{.*}} ins(%[[AC]] : tensor<1x1x4x4xf32>) outs(%{{.+}} : tensor<1x4x1x4xf32>)
// CHECK: %[[AR:.+]] = tensor.collapse_shape %[[AT]] {{\[\[}}0], [1], [2, 3]] {{.*}} into tensor<1x4x4xf32>
// CHECK: %[[AS:.+]] = tensor.extract_slice %[[AR]][0, 0, 0] [1, 4, 3] [1, 1, 1]
// CHECK: %[[BS:.+]] = tensor.extract_slice %{{.+}}[0, 0, 0] [1, 4, 7] [1, 1, 1] : tensor<1x4x8xf32>
// CHECK: %[[R:.+]] = tensor.concat dim(2) %[[AS]], %[[BS]]
// CHECK: return %[[R]] : tensor<1x4x10xf32>
func.func @head(%x: tensor<1x3x2x2xf32>) -> tensor<1x4x10xf32> {
  %w = arith.constant dense<0.5> : tensor<3x3x1x1xf32>
  %v = arith.constant dense<0.5> : tensor<7x3x1x1xf32>
  %a = mv.conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : (tensor<1x3x2x2xf32>, tensor<3x3x1x1xf32>) -> tensor<1x3x2x2xf32>
  %b = mv.conv %x, %v {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64} : (tensor<1x3x2x2xf32>, tensor<7x3x1x1xf32>) -> tensor<1x7x2x2xf32>
  %c = tensor.concat dim(1) %a, %b : (tensor<1x3x2x2xf32>, tensor<1x7x2x2xf32>) -> tensor<1x10x2x2xf32>
  %f = tensor.collapse_shape %c [[0], [1], [2, 3]] : tensor<1x10x2x2xf32> into tensor<1x10x4xf32>
  %e = tensor.empty() : tensor<1x4x10xf32>
  %t = linalg.generic {indexing_maps = [#t, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%f : tensor<1x10x4xf32>) outs(%e : tensor<1x4x10xf32>) {
  ^bb0(%p: f32, %o: f32):
    linalg.yield %p : f32
  } -> tensor<1x4x10xf32>
  return %t : tensor<1x4x10xf32>
}
