//===- MlirFuzz.cpp -------------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/driver/Pipeline.h"
#include "compiler/import/Import.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "tests/fuzz/Edits.h"

#include <cstdlib>
#include <cstring>

using namespace marver;

namespace {

/// Every form of text that is not upstream's, in its shortest form.
constexpr const char *valid =
    R"mlir(util.global private @w = dense_resource<w> : tensor<2x4xf32>
func.func @main(%x: !torch.vtensor<[?,4],f32>, %n: !torch.vtensor<[2],si64>) -> (!torch.vtensor<[?,2],f32>, !torch.vtensor<[2],si64>, !torch.int) {
  %s = torch.symbolic_int "s0" {min_val = 1, max_val = 9} : !torch.int
  torch.bind_symbolic_shape %x, [%s], affine_map<()[s0] -> (s0 * 2, 4)> : !torch.vtensor<[?,4],f32>
  %w = util.global.load @w : tensor<2x4xf32>
  %0 = torch_c.from_builtin_tensor %w : tensor<2x4xf32> -> !torch.vtensor<[2,4],f32>
  %none = torch.constant.none
  %1 = torch.aten.linear %x, %0, %none : !torch.vtensor<[?,4],f32>, !torch.vtensor<[2,4],f32>, !torch.none -> !torch.vtensor<[?,2],f32>
  %int-1 = torch.constant.int -1
  %int0 = torch.constant.int 0
  %2 = torch.aten.size.int %x, %int0 : !torch.vtensor<[?,4],f32>, !torch.int -> !torch.int
  %3 = torch.aten.add.int %2, %int-1 : !torch.int, !torch.int -> !torch.int
  %4 = torch.prim.ListConstruct %2, %int-1 : (!torch.int, !torch.int) -> !torch.list<int>
  %5 = torch.aten.view %1, %4 : !torch.vtensor<[?,2],f32>, !torch.list<int> -> !torch.vtensor<[?,2],f32>
  %6 = torch.vtensor.literal(dense<[1, 2]> : tensor<2xsi64>) : !torch.vtensor<[2],si64>
  %7 = torch.operator "torch.aten.maximum"(%n, %6) : (!torch.vtensor<[2],si64>, !torch.vtensor<[2],si64>) -> !torch.vtensor<[2],si64>
  return %5, %7, %3 : !torch.vtensor<[?,2],f32>, !torch.vtensor<[2],si64>, !torch.int
}
func.func @onnx(%x: !torch.vtensor<[1,1,4],f32>) -> !torch.vtensor<[1,1,4],f32> attributes {torch.onnx_meta.opset_version = 20 : si64} {
  %none = torch.constant.none
  %0 = torch.operator "onnx.Constant"() {torch.onnx.value = dense<6.0> : tensor<f32>} : () -> !torch.vtensor<[],f32>
  %1 = torch.operator "onnx.Clip"(%x, %none, %0) : (!torch.vtensor<[1,1,4],f32>, !torch.none, !torch.vtensor<[],f32>) -> !torch.vtensor<[1,1,4],f32>
  %2 = torch.operator "onnx.Transpose"(%1) {torch.onnx.perm = [1 : si64, 0 : si64, 2 : si64]} : (!torch.vtensor<[1,1,4],f32>) -> !torch.vtensor<[1,1,4],f32>
  return %2 : !torch.vtensor<[1,1,4],f32>
}
func.func @loop(%x: !torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32> {
  %int3 = torch.constant.int 3
  %true = torch.constant.bool true
  %0 = torch.prim.Loop %int3, %true, init(%x) {
  ^bb0(%i: !torch.int, %a: !torch.vtensor<[2],f32>):
    %1 = torch.aten.relu %a : !torch.vtensor<[2],f32> -> !torch.vtensor<[2],f32>
    torch.prim.Loop.condition %true, iter(%1 : !torch.vtensor<[2],f32>)
  } : (!torch.int, !torch.bool, !torch.vtensor<[2],f32>) -> !torch.vtensor<[2],f32>
  return %0 : !torch.vtensor<[2],f32>
}
func.func @hlo(%x: tensor<1x4x4x2xf32>, %w: tensor<3x3x2x3xf32>, %i: tensor<3x1xi32>) -> (tensor<3x4xf32>, tensor<i32>) {
  %0 = stablehlo.convolution(%x, %w) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], window = {stride = [1, 1], pad = [[1, 1], [1, 1]]} {feature_group_count = 1 : i64} : (tensor<1x4x4x2xf32>, tensor<3x3x2x3xf32>) -> tensor<1x4x4x3xf32>
  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %1 = stablehlo.reduce(%0 init: %c) applies stablehlo.add across dimensions = [0, 3] : (tensor<1x4x4x3xf32>, tensor<f32>) -> tensor<4x4xf32>
  %2 = stablehlo.slice %1 [0:4, 0:3] : (tensor<4x4xf32>) -> tensor<4x3xf32>
  %3 = stablehlo.dot_general %1, %2, contracting_dims = [1] x [0] : (tensor<4x4xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
  %4 = stablehlo.pad %3, %c, low = [0, 1], high = [0, 0], interior = [0, 0] : (tensor<4x3xf32>, tensor<f32>) -> tensor<4x4xf32>
  %5 = "stablehlo.gather"(%4, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 4>}> : (tensor<4x4xf32>, tensor<3x1xi32>) -> tensor<3x4xf32>
  %n = stablehlo.constant dense<4> : tensor<i32>
  %6 = stablehlo.while(%k = %n) : tensor<i32>
  cond {
    %7 = stablehlo.compare LT, %k, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %7 : tensor<i1>
  } do {
    %7 = stablehlo.add %k, %n : tensor<i32>
    stablehlo.return %7 : tensor<i32>
  }
  return %5, %6 : tensor<3x4xf32>, tensor<i32>
}
{-#
  dialect_resources: { builtin: {
    w: "0x040000000000803F000000C00000803F000000C00000803F000000C00000803F000000C0"
  } }
#-}
)mlir";

} // namespace

/// The bytes are edits (Edits.h) of a valid file. Whatever comes in, there is a
/// module that verifies, or an error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const size_t length = std::strlen(valid);
  std::vector<uint8_t> bytes(valid, valid + length);
  applyEdits(bytes, bytes.size(), data, size);

  static mlir::MLIRContext *context = nullptr;
  static unsigned runs = 0;
  if (runs++ % 256 == 0) { // constants stay until their context goes
    delete context;
    mlir::DialectRegistry registry;
    registerDialects(registry);
    context =
        new mlir::MLIRContext(registry, mlir::MLIRContext::Threading::DISABLED);
  }
  unsigned errors = 0;
  mlir::ScopedDiagnosticHandler handler(context, [&](mlir::Diagnostic &error) {
    errors += error.getSeverity() == mlir::DiagnosticSeverity::Error;
    return mlir::success();
  });
  ImportRequest request;
  request.path = "-";
  request.data = llvm::MemoryBuffer::getMemBufferCopy(llvm::StringRef(
      reinterpret_cast<const char *>(bytes.data()), bytes.size()));
  mlir::OwningOpRef<mlir::ModuleOp> module = importMlir(context, request);
  if (!module && !errors)
    abort();
  if (module && mlir::failed(mlir::verify(*module)))
    abort();
  // An edit that changes nothing leaves a model that is imported.
  if (!module && std::equal(valid, valid + length, bytes.begin(), bytes.end()))
    abort();
  return 0;
}
