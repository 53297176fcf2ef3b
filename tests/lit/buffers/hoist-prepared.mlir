// RUN: marver-opt %s --mv-stage-kernels --mv-stage-buffers | FileCheck %s
// RUN: marver-opt %s --mv-stage-kernels --mv-stage-buffers --mv-lower-host | FileCheck %s --check-prefix=HOST

// Transformed weights are made once per load, and once for both entry points.

// 2 * 36 * 64 * 32 * 4 bytes
// CHECK: module attributes {{.*}}mv.prepared_bytes = 589824
// CHECK-LABEL: func.func @main
// CHECK: mv.buffer prepared 0 at %{{.*}} : memref<{{.*}}x36x64x{{.*}}xf32>
// CHECK-LABEL: func.func @second
// CHECK: mv.buffer prepared 0 at %{{.*}} : memref<{{.*}}x36x64x{{.*}}xf32>
// CHECK-LABEL: func.func private @prepare()
// CHECK-DAG: mv.buffer constant 0
// CHECK-DAG: %[[OUT:.*]] = mv.buffer prepared 0
// CHECK: mv.launch @{{.*}} outs(%[[OUT]]
// CHECK-NOT: mv.launch
// CHECK: return

// HOST-DAG: func.func @run0(
// HOST-DAG: func.func @run1(
// HOST-DAG: func.func @prepare(%{{.*}}: !llvm.ptr) -> i64
func.func @main(%x: tensor<1x4x42x42x16xf32>) -> tensor<1x4x40x40x16xf32> {
  %w = arith.constant dense<0.5> : tensor<2x3x3x64x32xf32>
  %0 = mv.packed_conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 64, out_channels = 64, input_blocked} : (tensor<1x4x42x42x16xf32>, tensor<2x3x3x64x32xf32>) -> tensor<1x4x40x40x16xf32>
  return %0 : tensor<1x4x40x40x16xf32>
}
func.func @second(%x: tensor<1x4x42x42x16xf32>) -> tensor<1x4x40x40x16xf32> {
  %w = arith.constant dense<0.5> : tensor<2x3x3x64x32xf32>
  %0 = mv.packed_conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, in_channels = 64, out_channels = 64, input_blocked} : (tensor<1x4x42x42x16xf32>, tensor<2x3x3x64x32xf32>) -> tensor<1x4x40x40x16xf32>
  return %0 : tensor<1x4x40x40x16xf32>
}
