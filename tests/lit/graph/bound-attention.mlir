// RUN: marver-opt --pass-pipeline='builtin.module(func.func(mv-bound-attention,canonicalize,cse))' --split-input-file %s | FileCheck %s

#key = affine_map<(d0, d1) -> (d1)>
#query = affine_map<(d0, d1) -> (d0, 0)>
#id = affine_map<(d0, d1) -> (d0, d1)>

// arange(5) <= position, unsqueezed; the second layer shares it.
// CHECK-LABEL: func @step
// CHECK-SAME: %[[POS:[a-z0-9]+]]: tensor<1x1xi64>
// CHECK-NOT: cmpi
// CHECK: %[[L:.+]] = linalg.generic {{.*}} ins(%[[POS]] : tensor<1x1xi64>)
// CHECK: linalg.yield %in : i64
// CHECK: %[[E:.+]] = tensor.expand_shape %[[L]] {{.*}} : tensor<1x1xi64> into tensor<1x1x1x1xi64>
// CHECK: %[[A:.+]] = mv.attention %{{.+}}, %{{.+}}, %{{.+}} mask %[[E]]
// CHECK: mv.attention %[[A]], %{{.+}}, %{{.+}} mask %[[E]]
func.func @step(%pos: tensor<1x1xi64>, %q: tensor<1x2x1x4xf32>, %k: tensor<1x2x5x4xf32>, %v: tensor<1x2x5x4xf32>) -> tensor<1x2x1x4xf32> {
  %iota = arith.constant dense<[0, 1, 2, 3, 4]> : tensor<5xi64>
  %e = tensor.empty() : tensor<1x5xi1>
  %m = linalg.generic {indexing_maps = [#key, #query, #id], iterator_types = ["parallel", "parallel"]} ins(%iota, %pos : tensor<5xi64>, tensor<1x1xi64>) outs(%e : tensor<1x5xi1>) {
  ^bb0(%i: i64, %p: i64, %o: i1):
    %c = arith.cmpi sle, %i, %p : i64
    linalg.yield %c : i1
  } -> tensor<1x5xi1>
  %mask = tensor.expand_shape %m [[0], [1, 2, 3]] output_shape [1, 1, 1, 5] : tensor<1x5xi1> into tensor<1x1x1x5xi1>
  %a = mv.attention %q, %k, %v mask %mask {scale = 5.0e-01 : f64} : (tensor<1x2x1x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x1x1x5xi1>) -> tensor<1x2x1x4xf32>
  %b = mv.attention %a, %k, %v mask %mask {scale = 5.0e-01 : f64} : (tensor<1x2x1x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x1x1x5xi1>) -> tensor<1x2x1x4xf32>
  return %b : tensor<1x2x1x4xf32>
}

// -----

#row = affine_map<(d0, d1) -> (d0)>
#id = affine_map<(d0, d1) -> (d0, d1)>

// length > position, with the position as the loop's own.
// CHECK-LABEL: func @lengths
// CHECK: arith.subi %in, %c1_i64 : i64
// CHECK: mv.attention {{.*}} tensor<?x1xi64>)
func.func @lengths(%length: tensor<?xi64>, %n: index, %q: tensor<2x?x4xf32>, %k: tensor<2x9x4xf32>, %v: tensor<2x9x4xf32>) -> tensor<2x?x4xf32> {
  %e = tensor.empty(%n) : tensor<?x9xi1>
  %m = linalg.generic {indexing_maps = [#row, #id], iterator_types = ["parallel", "parallel"]} ins(%length : tensor<?xi64>) outs(%e : tensor<?x9xi1>) {
  ^bb0(%l: i64, %o: i1):
    %i = linalg.index 1 : index
    %x = arith.index_cast %i : index to i64
    %c = arith.cmpi sgt, %l, %x : i64
    linalg.yield %c : i1
  } -> tensor<?x9xi1>
  %a = mv.attention %q, %k, %v mask %m {scale = 5.0e-01 : f64} : (tensor<2x?x4xf32>, tensor<2x9x4xf32>, tensor<2x9x4xf32>, tensor<?x9xi1>) -> tensor<2x?x4xf32>
  return %a : tensor<2x?x4xf32>
}

// -----

#key = affine_map<(d0, d1) -> (d1)>
#id = affine_map<(d0, d1) -> (d0, d1)>

// Not positions, another comparison, a bound that differs from key to key.
// CHECK-LABEL: func @others
// CHECK-COUNT-3: mv.attention {{.*}} tensor<3x4xi1>)
func.func @others(%p: tensor<3x4xi64>, %q: tensor<2x3x4xf32>, %k: tensor<2x4x4xf32>, %v: tensor<2x4x4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>) {
  %some = arith.constant dense<[0, 1, 3, 2]> : tensor<4xi64>
  %iota = arith.constant dense<[0, 1, 2, 3]> : tensor<4xi64>
  %row = arith.constant dense<2> : tensor<3x4xi64>
  %e = tensor.empty() : tensor<3x4xi1>
  %m = linalg.generic {indexing_maps = [#key, affine_map<(d0, d1) -> (d0, 0)>, #id], iterator_types = ["parallel", "parallel"]} ins(%some, %p : tensor<4xi64>, tensor<3x4xi64>) outs(%e : tensor<3x4xi1>) {
  ^bb0(%i: i64, %x: i64, %o: i1):
    %c = arith.cmpi sle, %i, %x : i64
    linalg.yield %c : i1
  } -> tensor<3x4xi1>
  %n = linalg.generic {indexing_maps = [#key, affine_map<(d0, d1) -> (d0, 0)>, #id], iterator_types = ["parallel", "parallel"]} ins(%iota, %p : tensor<4xi64>, tensor<3x4xi64>) outs(%e : tensor<3x4xi1>) {
  ^bb0(%i: i64, %x: i64, %o: i1):
    %c = arith.cmpi sge, %i, %x : i64
    linalg.yield %c : i1
  } -> tensor<3x4xi1>
  %l = linalg.generic {indexing_maps = [#key, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%iota, %p : tensor<4xi64>, tensor<3x4xi64>) outs(%e : tensor<3x4xi1>) {
  ^bb0(%i: i64, %x: i64, %o: i1):
    %c = arith.cmpi sle, %i, %x : i64
    linalg.yield %c : i1
  } -> tensor<3x4xi1>
  %a = mv.attention %q, %k, %v mask %m {scale = 5.0e-01 : f64} : (tensor<2x3x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>, tensor<3x4xi1>) -> tensor<2x3x4xf32>
  %b = mv.attention %q, %k, %v mask %n {scale = 5.0e-01 : f64} : (tensor<2x3x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>, tensor<3x4xi1>) -> tensor<2x3x4xf32>
  %c = mv.attention %q, %k, %v mask %l {scale = 5.0e-01 : f64} : (tensor<2x3x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>, tensor<3x4xi1>) -> tensor<2x3x4xf32>
  return %a, %b, %c : tensor<2x3x4xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>
}

// -----

// A constant: the prompt's part of a longer cache. The other has a hole.
// CHECK-LABEL: func @constant
// CHECK: %[[L:.+]] = arith.constant dense<{{\[\[0\], \[-1\], \[3\]\]}}> : tensor<3x1xi64>
// CHECK: mv.attention %{{.+}}, %{{.+}}, %{{.+}} mask %[[L]]
// CHECK: mv.attention {{.*}} tensor<3x4xi1>)
func.func @constant(%q: tensor<2x3x4xf32>, %k: tensor<2x4x4xf32>, %v: tensor<2x4x4xf32>) -> (tensor<2x3x4xf32>, tensor<2x3x4xf32>) {
  %m = arith.constant dense<[[true, false, false, false], [false, false, false, false], [true, true, true, true]]> : tensor<3x4xi1>
  %n = arith.constant dense<[[true, false, false, false], [false, true, false, false], [true, true, true, true]]> : tensor<3x4xi1>
  %a = mv.attention %q, %k, %v mask %m {scale = 5.0e-01 : f64} : (tensor<2x3x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>, tensor<3x4xi1>) -> tensor<2x3x4xf32>
  %b = mv.attention %q, %k, %v mask %n {scale = 5.0e-01 : f64} : (tensor<2x3x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>, tensor<3x4xi1>) -> tensor<2x3x4xf32>
  return %a, %b : tensor<2x3x4xf32>, tensor<2x3x4xf32>
}
