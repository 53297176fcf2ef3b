// RUN: marver-opt %s --pass-pipeline='builtin.module(func.func(mv-resolve-dims,mv-clean-up,mv-hoist-invariants,cse))' | FileCheck %s

// A dim that changes is carried as an index beside its tensor.

// CHECK-LABEL: func.func @grows
// CHECK-SAME: (%[[X:.*]]: tensor<?x3xf32>, %[[N:.*]]: index)
// CHECK: %[[D:.*]] = tensor.dim %[[X]]
// CHECK: %[[R:.*]]:2 = scf.for {{.*}} iter_args(%[[V:.*]] = %[[X]], %[[S:.*]] = %[[D]]) -> (tensor<?x3xf32>, index)
// CHECK: tensor.concat
// CHECK: %[[NEXT:.*]] = affine.apply {{.*}}(%[[S]])[%[[D]]]
// CHECK: scf.yield %{{.*}}, %[[NEXT]]
// CHECK: return %[[R]]#1
func.func @grows(%x: tensor<?x3xf32>, %n: index) -> index {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%v = %x) -> tensor<?x3xf32> {
    %w = tensor.concat dim(0) %v, %x : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
    scf.yield %w : tensor<?x3xf32>
  }
  %d = tensor.dim %r, %c0 : tensor<?x3xf32>
  return %d : index
}

// One that does not change is not; what no iteration changes is not carried;
// and what is the same in all iterations is computed before the loop.

// CHECK-LABEL: func.func @keeps
// CHECK-SAME: (%[[X:.*]]: tensor<?xf32>, %[[Y:.*]]: tensor<?xf32>, %[[GO:.*]]: tensor<i1>)
// CHECK: %[[D:.*]] = tensor.dim %[[X]]
// CHECK: %[[TWICE:.*]] = linalg.generic {{.*}} ins(%[[Y]]
// CHECK: %[[E:.*]] = tensor.empty(%[[D]])
// CHECK: scf.while (%[[V:.*]] = %[[X]]) : (tensor<?xf32>) -> tensor<?xf32> {
// CHECK: ^bb0(%[[W:.*]]: tensor<?xf32>):
// CHECK: linalg.generic {{.*}} ins(%[[W]], %[[TWICE]] : {{.*}} outs(%[[E]]
// CHECK: return %{{.*}}, %[[D]], %[[Y]]
#id = affine_map<(d0) -> (d0)>
func.func @keeps(%x: tensor<?xf32>, %y: tensor<?xf32>, %go: tensor<i1>) -> (tensor<?xf32>, index, tensor<?xf32>) {
  %c0 = arith.constant 0 : index
  %r:2 = scf.while (%v = %x, %u = %y) : (tensor<?xf32>, tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>) {
    %a = tensor.extract %v[%c0] : tensor<?xf32>
    %b = tensor.extract %u[%c0] : tensor<?xf32>
    %c = arith.cmpf olt, %a, %b : f32
    scf.condition(%c) %v, %u : tensor<?xf32>, tensor<?xf32>
  } do {
  ^bb0(%v: tensor<?xf32>, %u: tensor<?xf32>):
    %d = tensor.dim %u, %c0 : tensor<?xf32>
    %e = tensor.empty(%d) : tensor<?xf32>
    %t = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
        ins(%u : tensor<?xf32>) outs(%e : tensor<?xf32>) {
      ^bb0(%p: f32, %o: f32):
        %q = arith.addf %p, %p : f32
        linalg.yield %q : f32
    } -> tensor<?xf32>
    %dv = tensor.dim %v, %c0 : tensor<?xf32>
    %ev = tensor.empty(%dv) : tensor<?xf32>
    %w = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]}
        ins(%v, %t : tensor<?xf32>, tensor<?xf32>) outs(%ev : tensor<?xf32>) {
      ^bb0(%p: f32, %p2: f32, %o: f32):
        %q = arith.addf %p, %p2 : f32
        linalg.yield %q : f32
    } -> tensor<?xf32>
    scf.yield %w, %u : tensor<?xf32>, tensor<?xf32>
  }
  %d = tensor.dim %r#0, %c0 : tensor<?xf32>
  return %r#0, %d, %r#1 : tensor<?xf32>, index, tensor<?xf32>
}
