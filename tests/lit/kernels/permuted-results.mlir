// RUN: marver-opt %s --mv-stage-kernels | FileCheck %s

// A product whose columns are split into heads, which then come in front, is
// stored in that order if the function returns it. Heads that are not whole
// vectors are copied instead, and an attention reads the heads where they are.

#id = affine_map<(a, b, c, d) -> (a, b, c, d)>
#heads = affine_map<(a, b, c, d) -> (a, c, b, d)>

// CHECK-LABEL: func.func @returned
// CHECK: %[[R:.*]] = mv.launch @{{.*}} -> tensor<1x4x20x32xf32>
// CHECK-NOT: linalg.generic
// CHECK: return %[[R]]
func.func @returned(%x: tensor<1x20x24xf32>, %w: tensor<4x24x32xf32>) -> tensor<1x4x20x32xf32> {
  %0 = mv.packed_matmul %x, %w {columns = 128 : i64} : (tensor<1x20x24xf32>, tensor<4x24x32xf32>) -> tensor<1x20x128xf32>
  %1 = tensor.expand_shape %0 [[0], [1], [2, 3]] output_shape [1, 20, 4, 32] : tensor<1x20x128xf32> into tensor<1x20x4x32xf32>
  %e = tensor.empty() : tensor<1x4x20x32xf32>
  %2 = linalg.generic {indexing_maps = [#heads, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%1 : tensor<1x20x4x32xf32>) outs(%e : tensor<1x4x20x32xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<1x4x20x32xf32>
  return %2 : tensor<1x4x20x32xf32>
}

// CHECK-LABEL: func.func @narrow
// CHECK: mv.launch @{{.*}} -> tensor<1x20x96xf32>
func.func @narrow(%x: tensor<1x20x24xf32>, %w: tensor<3x24x32xf32>) -> tensor<1x8x20x12xf32> {
  %0 = mv.packed_matmul %x, %w {columns = 96 : i64} : (tensor<1x20x24xf32>, tensor<3x24x32xf32>) -> tensor<1x20x96xf32>
  %1 = tensor.expand_shape %0 [[0], [1], [2, 3]] output_shape [1, 20, 8, 12] : tensor<1x20x96xf32> into tensor<1x20x8x12xf32>
  %e = tensor.empty() : tensor<1x8x20x12xf32>
  %2 = linalg.generic {indexing_maps = [#heads, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%1 : tensor<1x20x8x12xf32>) outs(%e : tensor<1x8x20x12xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<1x8x20x12xf32>
  return %2 : tensor<1x8x20x12xf32>
}

// CHECK-LABEL: func.func @attended
// CHECK: mv.launch @{{.*}} -> tensor<1x20x128xf32>
// CHECK: mv.launch @{{.*}} -> tensor<1x4x20x32xf32>
func.func @attended(%x: tensor<1x20x24xf32>, %w: tensor<4x24x32xf32>) -> tensor<1x4x20x32xf32> {
  %0 = mv.packed_matmul %x, %w {columns = 128 : i64} : (tensor<1x20x24xf32>, tensor<4x24x32xf32>) -> tensor<1x20x128xf32>
  %1 = tensor.expand_shape %0 [[0], [1], [2, 3]] output_shape [1, 20, 4, 32] : tensor<1x20x128xf32> into tensor<1x20x4x32xf32>
  %e = tensor.empty() : tensor<1x4x20x32xf32>
  %2 = linalg.generic {indexing_maps = [#heads, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%1 : tensor<1x20x4x32xf32>) outs(%e : tensor<1x4x20x32xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<1x4x20x32xf32>
  %3 = mv.attention %2, %2, %2 {scale = 1.0 : f64} : (tensor<1x4x20x32xf32>, tensor<1x4x20x32xf32>, tensor<1x4x20x32xf32>) -> tensor<1x4x20x32xf32>
  return %3 : tensor<1x4x20x32xf32>
}
