// RUN: marver-compile %s --compile-to=import -o - | FileCheck %s
// RUN: marver-compile %s --list-inputs | FileCheck %s --check-prefix=LIST
// RUN: not marver-compile %s again=%s -o %t.mv 2>&1 | FileCheck %s --check-prefix=TWICE

// Public functions are entry points under their names, whatever dialect each is
// in; the wrappers that IREE's exporters add are left out, private functions
// are inlined.

// CHECK-DAG:  func.func @plain(
// CHECK-DAG:  func.func @relu(
// CHECK-NOT:  async
// CHECK-NOT:  private
// CHECK-NOT:  call

// LIST-DAG: plain:
// LIST-DAG: relu:

// TWICE: error: two entry points are called 'plain'
func.func @plain(%a: tensor<4xf32>) -> tensor<4xf32> {
  %b = arith.addf %a, %a : tensor<4xf32>
  return %b : tensor<4xf32>
}
func.func @relu(%a: !torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32> {
  %b = call @helper(%a) : (!torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32>
  return %b : !torch.vtensor<[2],f32>
}
func.func private @helper(%a: !torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32> {
  %b = torch.aten.relu %a : !torch.vtensor<[2],f32> -> !torch.vtensor<[2],f32>
  return %b : !torch.vtensor<[2],f32>
}
func.func @relu$async(%a: !hal.buffer_view, %wait: !hal.fence, %signal: !hal.fence) -> !hal.buffer_view {
  return %a : !hal.buffer_view
}
