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
