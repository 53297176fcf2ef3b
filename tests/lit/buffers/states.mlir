// RUN: marver-opt %s --mv-stage-kernels --mv-stage-buffers | FileCheck %s

// The new value of a state is made where the old one is, if that was read for
// the last time; what is returned as well is copied from there.

// CHECK-LABEL: func.func @in_place()
// CHECK-SAME: mv.states = [{mv.initial = 0 : i64, mv.state = "sum", type = tensor<8xf32>}]
// CHECK: %[[SUM:.*]] = mv.buffer input 1 : memref<8xf32>
// CHECK: %[[X:.*]] = mv.buffer input 0 : memref<8xf32>
// CHECK: mv.launch @{{.*}}(%[[SUM]], %[[X]] : {{.*}}) outs(%[[SUM]] :
// CHECK: %[[OUT:.*]] = mv.buffer output 0 : memref<8xf32>
// CHECK: mv.launch @{{.*}}(%[[SUM]] : {{.*}}) outs(%[[OUT]] :
// CHECK-NOT: mv.launch

// One that reads other elements is made apart and copied at the end.

// CHECK-LABEL: func.func @apart()
// CHECK: %[[T:.*]] = mv.buffer input 0 : memref<4x4xf32>
// CHECK: %[[NEXT:.*]] = mv.buffer arena 0 at %{{.*}} : memref<4x4xf32>
// CHECK: mv.launch @{{.*}}(%[[T]] : {{.*}}) outs(%[[NEXT]] :
// CHECK: mv.launch @{{.*}}(%[[NEXT]] : {{.*}}) outs(%[[T]] :

#map = affine_map<(d0) -> (d0)>
#map2 = affine_map<(d0, d1) -> (d0, d1)>
#turned = affine_map<(d0, d1) -> (d1, d0)>
func.func @in_place(%x: tensor<8xf32>, %sum: tensor<8xf32> {mv.state = "sum", mv.initial = dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>})
    -> (tensor<8xf32>, tensor<8xf32>) attributes {mv.entry} {
  %e = tensor.empty() : tensor<8xf32>
  %new = linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel"]} ins(%sum, %x : tensor<8xf32>, tensor<8xf32>) outs(%e : tensor<8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %c = arith.addf %a, %b : f32
    linalg.yield %c : f32
  } -> tensor<8xf32>
  return %new, %new : tensor<8xf32>, tensor<8xf32>
}

func.func @apart(%t: tensor<4x4xf32> {mv.state = "t"}) -> tensor<4x4xf32> attributes {mv.entry} {
  %e = tensor.empty() : tensor<4x4xf32>
  %new = linalg.generic {indexing_maps = [#turned, #map2], iterator_types = ["parallel", "parallel"]} ins(%t : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %c = arith.addf %a, %a : f32
    linalg.yield %c : f32
  } -> tensor<4x4xf32>
  return %new : tensor<4x4xf32>
}
