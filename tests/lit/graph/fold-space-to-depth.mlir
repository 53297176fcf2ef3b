// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-simplify-graph,mv-fold-space-to-depth,canonicalize))' --split-input-file %s | FileCheck %s

// Two phases of a 1-D signal, odd first: tap k of part p is tap 2 k + offset(p).
// CHECK-LABEL: func @one_dim
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x1x8xf32>
// CHECK-DAG: %[[W:.+]] = arith.constant dense<{{\[\[\[}}4.000000e+00, 1.000000e+00, 5.000000e+00, 2.000000e+00, 6.000000e+00, 3.000000e+00]]]> : tensor<1x1x6xf32>
// CHECK: mv.conv %[[X]], %[[W]] {dilations = array<i64: 1>, groups = 1 : i64, pads = array<i64: 2, 0>, strides = array<i64: 2>} : (tensor<1x1x8xf32>, tensor<1x1x6xf32>) -> tensor<1x1x3xf32>
func.func @one_dim(%x: tensor<1x1x8xf32>) -> tensor<1x1x3xf32> {
  %w = arith.constant dense<[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]> : tensor<1x2x3xf32>
  %a = tensor.extract_slice %x[0, 0, 1] [1, 1, 4] [1, 1, 2] : tensor<1x1x8xf32> to tensor<1x1x4xf32>
  %b = tensor.extract_slice %x[0, 0, 0] [1, 1, 4] [1, 1, 2] : tensor<1x1x8xf32> to tensor<1x1x4xf32>
  %c = tensor.concat dim(1) %a, %b : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x2x4xf32>
  %y = mv.conv %c, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 1, 0>, groups = 1 : i64} : (tensor<1x2x4xf32>, tensor<1x2x3xf32>) -> tensor<1x1x3xf32>
  return %y : tensor<1x1x3xf32>
}

// -----

// As exporters write it: each slice in two steps.
// CHECK-LABEL: func @focus
// CHECK-NOT: tensor.concat
// CHECK: mv.conv %{{.+}}, %{{.+}} {{.*}}pads = array<i64: 2, 2, 2, 2>, strides = array<i64: 2, 2>} : (tensor<?x3x8x8xf32>, tensor<4x3x6x6xf32>) -> tensor<?x4x4x4xf32>
func.func @focus(%x: tensor<?x3x8x8xf32>) -> tensor<?x4x4x4xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x3x8x8xf32>
  %w = arith.constant dense<1.0> : tensor<4x12x3x3xf32>
  %r0 = tensor.extract_slice %x[0, 0, 0, 0] [%n, 3, 4, 8] [1, 1, 2, 1] : tensor<?x3x8x8xf32> to tensor<?x3x4x8xf32>
  %r1 = tensor.extract_slice %x[0, 0, 1, 0] [%n, 3, 4, 8] [1, 1, 2, 1] : tensor<?x3x8x8xf32> to tensor<?x3x4x8xf32>
  %a = tensor.extract_slice %r0[0, 0, 0, 0] [%n, 3, 4, 4] [1, 1, 1, 2] : tensor<?x3x4x8xf32> to tensor<?x3x4x4xf32>
  %b = tensor.extract_slice %r1[0, 0, 0, 0] [%n, 3, 4, 4] [1, 1, 1, 2] : tensor<?x3x4x8xf32> to tensor<?x3x4x4xf32>
  %c = tensor.extract_slice %r0[0, 0, 0, 1] [%n, 3, 4, 4] [1, 1, 1, 2] : tensor<?x3x4x8xf32> to tensor<?x3x4x4xf32>
  %d = tensor.extract_slice %r1[0, 0, 0, 1] [%n, 3, 4, 4] [1, 1, 1, 2] : tensor<?x3x4x8xf32> to tensor<?x3x4x4xf32>
  %s = tensor.concat dim(1) %a, %b, %c, %d : (tensor<?x3x4x4xf32>, tensor<?x3x4x4xf32>, tensor<?x3x4x4xf32>, tensor<?x3x4x4xf32>) -> tensor<?x12x4x4xf32>
  %y = mv.conv %s, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64} : (tensor<?x12x4x4xf32>, tensor<4x12x3x3xf32>) -> tensor<?x4x4x4xf32>
  return %y : tensor<?x4x4x4xf32>
}

// -----

// A phase twice, and a slice that leaves a point out.
// CHECK-LABEL: func @not_all_phases
// CHECK-COUNT-2: tensor.concat
func.func @not_all_phases(%x: tensor<1x1x8xf32>, %z: tensor<1x1x9xf32>) -> (tensor<1x1x2xf32>, tensor<1x1x2xf32>) {
  %w = arith.constant dense<[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]> : tensor<1x2x3xf32>
  %a = tensor.extract_slice %x[0, 0, 1] [1, 1, 4] [1, 1, 2] : tensor<1x1x8xf32> to tensor<1x1x4xf32>
  %c = tensor.concat dim(1) %a, %a : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x2x4xf32>
  %y = mv.conv %c, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x2x4xf32>, tensor<1x2x3xf32>) -> tensor<1x1x2xf32>
  %d = tensor.extract_slice %z[0, 0, 1] [1, 1, 4] [1, 1, 2] : tensor<1x1x9xf32> to tensor<1x1x4xf32>
  %e = tensor.extract_slice %z[0, 0, 0] [1, 1, 4] [1, 1, 2] : tensor<1x1x9xf32> to tensor<1x1x4xf32>
  %f = tensor.concat dim(1) %d, %e : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x2x4xf32>
  %g = mv.conv %f, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x2x4xf32>, tensor<1x2x3xf32>) -> tensor<1x1x2xf32>
  return %y, %g : tensor<1x1x2xf32>, tensor<1x1x2xf32>
}

// -----

// Dynamic sizes: half of the dim is known to be all of a phase, %k is not.
#half = affine_map<()[s0] -> (s0 ceildiv 2)>
// CHECK-LABEL: func @dynamic
// CHECK: mv.conv %{{.+}}, %{{.+}} {{.*}}strides = array<i64: 2>} : (tensor<1x1x?xf32>, tensor<1x1x6xf32>)
// CHECK: tensor.concat
func.func @dynamic(%x: tensor<1x1x?xf32>, %k: index) -> (tensor<1x1x?xf32>, tensor<1x1x?xf32>) {
  %w = arith.constant dense<[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]> : tensor<1x2x3xf32>
  %c2 = arith.constant 2 : index
  %d = tensor.dim %x, %c2 : tensor<1x1x?xf32>
  %h = affine.apply #half()[%d]
  %a = tensor.extract_slice %x[0, 0, 1] [1, 1, %h] [1, 1, 2] : tensor<1x1x?xf32> to tensor<1x1x?xf32>
  %b = tensor.extract_slice %x[0, 0, 0] [1, 1, %h] [1, 1, 2] : tensor<1x1x?xf32> to tensor<1x1x?xf32>
  %c = tensor.concat dim(1) %a, %b : (tensor<1x1x?xf32>, tensor<1x1x?xf32>) -> tensor<1x2x?xf32>
  %y = mv.conv %c, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x2x?xf32>, tensor<1x2x3xf32>) -> tensor<1x1x?xf32>
  %e = tensor.extract_slice %x[0, 0, 1] [1, 1, %k] [1, 1, 2] : tensor<1x1x?xf32> to tensor<1x1x?xf32>
  %f = tensor.extract_slice %x[0, 0, 0] [1, 1, %k] [1, 1, 2] : tensor<1x1x?xf32> to tensor<1x1x?xf32>
  %g = tensor.concat dim(1) %e, %f : (tensor<1x1x?xf32>, tensor<1x1x?xf32>) -> tensor<1x2x?xf32>
  %z = mv.conv %g, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64} : (tensor<1x2x?xf32>, tensor<1x2x3xf32>) -> tensor<1x1x?xf32>
  return %y, %z : tensor<1x1x?xf32>, tensor<1x1x?xf32>
}
