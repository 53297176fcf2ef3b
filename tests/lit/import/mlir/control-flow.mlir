// RUN: marver-compile %s --compile-to=import -o - | FileCheck %s
// RUN: marver-compile %s -o %t.mv && marver-run %t.mv --input=4xf32="1 2 3 4" --input=f32=30 | FileCheck %s --check-prefix=RESULT

// A loop that passes on in its condition what it does not carry is rotated: it
// carries the condition and what is passed on.

// CHECK-LABEL: func.func @main
// CHECK: %[[FIRST:.*]] = linalg.generic
// CHECK: %[[GO:.*]] = arith.cmpf
// CHECK: scf.while (%[[A:.*]] = %[[GO]], %[[B:.*]] = %[[FIRST]]) : (i1, tensor<4xf32>) -> (i1, tensor<4xf32>)
// CHECK-NEXT: scf.condition(%[[A]]) %[[A]], %[[B]]
// CHECK: ^bb0(%{{.*}}: i1, %[[V:.*]]: tensor<4xf32>):
// CHECK-NEXT: scf.for {{.*}} iter_args(%{{.*}} = %[[V]])
// CHECK: scf.if
// CHECK: linalg.generic
// CHECK: arith.cmpf
// CHECK-NEXT: scf.yield

// x = 1, 2, 3, 4: doubled and added to until the first is 30.
// RESULT: result[0]: 4xf32=30 60 90 120
#id = affine_map<(d0) -> (d0)>
func.func @main(%x: tensor<4xf32>, %limit: tensor<f32>) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %r = scf.while (%v = %x) : (tensor<4xf32>) -> tensor<4xf32> {
    %e = tensor.empty() : tensor<4xf32>
    %w = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
        ins(%v : tensor<4xf32>) outs(%e : tensor<4xf32>) {
      ^bb0(%p: f32, %o: f32):
        %q = arith.addf %p, %p : f32
        linalg.yield %q : f32
    } -> tensor<4xf32>
    %a = tensor.extract %w[%c0] : tensor<4xf32>
    %b = tensor.extract %limit[] : tensor<f32>
    %c = arith.cmpf olt, %a, %b : f32
    scf.condition(%c) %w : tensor<4xf32>
  } do {
  ^bb0(%v: tensor<4xf32>):
    %f = scf.for %i = %c0 to %c3 step %c1 iter_args(%z = %v) -> tensor<4xf32> {
      %is = arith.cmpi eq, %i, %c1 : index
      %y = scf.if %is -> tensor<4xf32> {
        %e = tensor.empty() : tensor<4xf32>
        %w = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]}
            ins(%z, %x : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) {
          ^bb0(%p: f32, %p2: f32, %o: f32):
            %q = arith.addf %p, %p2 : f32
            linalg.yield %q : f32
        } -> tensor<4xf32>
        scf.yield %w : tensor<4xf32>
      } else {
        scf.yield %z : tensor<4xf32>
      }
      scf.yield %y : tensor<4xf32>
    }
    scf.yield %f : tensor<4xf32>
  }
  return %r : tensor<4xf32>
}
