// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-fold-constants,canonicalize))' --split-input-file %s | FileCheck %s

#id1 = affine_map<(d0) -> (d0)>
#id = affine_map<(d0, d1) -> (d0, d1)>
#t = affine_map<(d0, d1) -> (d1, d0)>
#row = affine_map<(d0, d1) -> (d0)>

// A chain of elementwise operations, in f32: 1 / sqrt(3 + 1) = 0.5.
// CHECK-LABEL: func @chain
// CHECK: %[[C:.+]] = arith.constant dense<[5.000000e-01, 2.500000e-01]> : tensor<2xf32>
// CHECK: return %[[C]]
func.func @chain() -> tensor<2xf32> {
  %v = arith.constant dense<[3.0, 15.0]> : tensor<2xf32>
  %one = arith.constant 1.0 : f32
  %e = tensor.empty() : tensor<2xf32>
  %a = linalg.generic {indexing_maps = [#id1, #id1], iterator_types = ["parallel"]} ins(%v : tensor<2xf32>) outs(%e : tensor<2xf32>) {
  ^bb0(%x: f32, %o: f32):
    %s = arith.addf %x, %one : f32
    linalg.yield %s : f32
  } -> tensor<2xf32>
  %b = linalg.generic {indexing_maps = [#id1, #id1], iterator_types = ["parallel"]} ins(%a : tensor<2xf32>) outs(%e : tensor<2xf32>) {
  ^bb0(%x: f32, %o: f32):
    %s = math.rsqrt %x : f32
    linalg.yield %s : f32
  } -> tensor<2xf32>
  return %b : tensor<2xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
#t = affine_map<(d0, d1) -> (d1, d0)>
#row = affine_map<(d0, d1) -> (d0)>

// CHECK-LABEL: func @move_and_reduce
// CHECK-DAG: %[[T:.+]] = arith.constant dense<{{\[\[}}1, 4], [2, 5], [3, 6]]> : tensor<3x2xi32>
// CHECK-DAG: %[[R:.+]] = arith.constant dense<[5, 7, 9]> : tensor<3xi32>
// CHECK: return %[[T]], %[[R]]
func.func @move_and_reduce() -> (tensor<3x2xi32>, tensor<3xi32>) {
  %v = arith.constant dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi32>
  %zero = arith.constant 0 : i32
  %e = tensor.empty() : tensor<3x2xi32>
  %t = linalg.generic {indexing_maps = [#t, #id], iterator_types = ["parallel", "parallel"]} ins(%v : tensor<2x3xi32>) outs(%e : tensor<3x2xi32>) {
  ^bb0(%x: i32, %o: i32):
    linalg.yield %x : i32
  } -> tensor<3x2xi32>
  %e1 = tensor.empty() : tensor<3xi32>
  %f = linalg.fill ins(%zero : i32) outs(%e1 : tensor<3xi32>) -> tensor<3xi32>
  %r = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]} ins(%t : tensor<3x2xi32>) outs(%f : tensor<3xi32>) {
  ^bb0(%x: i32, %o: i32):
    %s = arith.addi %x, %o : i32
    linalg.yield %s : i32
  } -> tensor<3xi32>
  return %t, %r : tensor<3x2xi32>, tensor<3xi32>
}

// -----

// Slices with strides, concats, pads, gathers (negative index), reshapes.
// CHECK-LABEL: func @shapes
// CHECK: %[[C:.+]] = arith.constant dense<{{\[\[}}0, 1, 3, 0], [0, 5, 4, 0]]> : tensor<2x4xi64>
// CHECK: return %[[C]]
func.func @shapes() -> tensor<2x4xi64> {
  %v = arith.constant dense<[0, 1, 2, 3, 4, 5]> : tensor<6xi64>
  %s = tensor.extract_slice %v[1] [2] [2] : tensor<6xi64> to tensor<2xi64>
  %i = arith.constant dense<[-1, 4]> : tensor<2xi64>
  %g = mv.gather %v at %i {dim = 0 : i64} : (tensor<6xi64>, tensor<2xi64>) -> tensor<2xi64>
  %c = tensor.concat dim(0) %s, %g : (tensor<2xi64>, tensor<2xi64>) -> tensor<4xi64>
  %m = tensor.expand_shape %c [[0, 1]] output_shape [2, 2] : tensor<4xi64> into tensor<2x2xi64>
  %zero = arith.constant 0 : i64
  %p = tensor.pad %m low[0, 1] high[0, 1] {
  ^bb0(%a: index, %b: index):
    tensor.yield %zero : i64
  } : tensor<2x2xi64> to tensor<2x4xi64>
  return %p : tensor<2x4xi64>
}

// -----

#id1 = affine_map<(d0) -> (d0)>
#id2 = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>

// A large uniform result is a splat; a large result of small operands is left to
// the run; so is a division by zero.
// CHECK-LABEL: func @limits
// CHECK-DAG: %[[S:.+]] = arith.constant dense<3.000000e+00> : tensor<1000000xf32>
// CHECK: %[[G:.+]] = linalg.generic
// CHECK: %[[D:.+]] = linalg.generic
// CHECK: return %[[S]], %[[G]], %[[D]]
func.func @limits() -> (tensor<1000000xf32>, tensor<4x1000000xf32>, tensor<2xi32>) {
  %a = arith.constant dense<1.0> : tensor<1000000xf32>
  %two = arith.constant 2.0 : f32
  %e = tensor.empty() : tensor<1000000xf32>
  %s = linalg.generic {indexing_maps = [#id1, #id1], iterator_types = ["parallel"]} ins(%a : tensor<1000000xf32>) outs(%e : tensor<1000000xf32>) {
  ^bb0(%x: f32, %o: f32):
    %r = arith.addf %x, %two : f32
    linalg.yield %r : f32
  } -> tensor<1000000xf32>
  %b = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %e2 = tensor.empty() : tensor<4x1000000xf32>
  %g = linalg.generic {indexing_maps = [#row, #id2], iterator_types = ["parallel", "parallel"]} ins(%b : tensor<4xf32>) outs(%e2 : tensor<4x1000000xf32>) {
  ^bb0(%x: f32, %o: f32):
    linalg.yield %x : f32
  } -> tensor<4x1000000xf32>
  %n = arith.constant dense<[6, 7]> : tensor<2xi32>
  %z = arith.constant dense<[2, 0]> : tensor<2xi32>
  %e3 = tensor.empty() : tensor<2xi32>
  %d = linalg.generic {indexing_maps = [#id1, #id1, #id1], iterator_types = ["parallel"]} ins(%n, %z : tensor<2xi32>, tensor<2xi32>) outs(%e3 : tensor<2xi32>) {
  ^bb0(%x: i32, %y: i32, %o: i32):
    %r = arith.divsi %x, %y : i32
    linalg.yield %r : i32
  } -> tensor<2xi32>
  return %s, %g, %d : tensor<1000000xf32>, tensor<4x1000000xf32>, tensor<2xi32>
}

// -----

#id1 = affine_map<(d0) -> (d0)>

// Integers wrap, unsigned ones compare as such, f16 rounds after each operation,
// NaN goes through a maximum.
// CHECK-LABEL: func @arithmetic
// CHECK-DAG: %[[I:.+]] = arith.constant dense<[-128, 1]> : tensor<2xi8>
// CHECK-DAG: %[[U:.+]] = arith.constant dense<[true, false]> : tensor<2xi1>
// CHECK-DAG: %[[H:.+]] = arith.constant dense<[2.048000e+03, 2.050000e+03]> : tensor<2xf16>
// CHECK-DAG: %[[N:.+]] = arith.constant dense<[0x7FC00000, 0.000000e+00]> : tensor<2xf32>
// CHECK: return %[[I]], %[[U]], %[[H]], %[[N]]
func.func @arithmetic() -> (tensor<2xi8>, tensor<2xi1>, tensor<2xf16>, tensor<2xf32>) {
  %i = arith.constant dense<[127, 0]> : tensor<2xi8>
  %one = arith.constant 1 : i8
  %ei = tensor.empty() : tensor<2xi8>
  %ri = linalg.generic {indexing_maps = [#id1, #id1], iterator_types = ["parallel"]} ins(%i : tensor<2xi8>) outs(%ei : tensor<2xi8>) {
  ^bb0(%x: i8, %o: i8):
    %r = arith.addi %x, %one : i8
    linalg.yield %r : i8
  } -> tensor<2xi8>
  %u = arith.constant dense<[-1, 0]> : tensor<2xi8>
  %eu = tensor.empty() : tensor<2xi1>
  %ru = linalg.generic {indexing_maps = [#id1, #id1], iterator_types = ["parallel"]} ins(%u : tensor<2xi8>) outs(%eu : tensor<2xi1>) {
  ^bb0(%x: i8, %o: i1):
    %r = arith.cmpi ugt, %x, %one : i8
    linalg.yield %r : i1
  } -> tensor<2xi1>
  %h = arith.constant dense<[1.0, 2.0]> : tensor<2xf16>
  %big = arith.constant 2048.0 : f16
  %eh = tensor.empty() : tensor<2xf16>
  %rh = linalg.generic {indexing_maps = [#id1, #id1], iterator_types = ["parallel"]} ins(%h : tensor<2xf16>) outs(%eh : tensor<2xf16>) {
  ^bb0(%x: f16, %o: f16):
    %r = arith.addf %x, %big : f16
    linalg.yield %r : f16
  } -> tensor<2xf16>
  %f = arith.constant dense<[0x7FC00000, -1.0]> : tensor<2xf32>
  %zero = arith.constant 0.0 : f32
  %ef = tensor.empty() : tensor<2xf32>
  %rf = linalg.generic {indexing_maps = [#id1, #id1], iterator_types = ["parallel"]} ins(%f : tensor<2xf32>) outs(%ef : tensor<2xf32>) {
  ^bb0(%x: f32, %o: f32):
    %r = arith.maximumf %x, %zero : f32
    linalg.yield %r : f32
  } -> tensor<2xf32>
  return %ri, %ru, %rh, %rf : tensor<2xi8>, tensor<2xi1>, tensor<2xf16>, tensor<2xf32>
}
