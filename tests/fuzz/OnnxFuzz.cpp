//===- OnnxFuzz.cpp -------------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/Import.h"
#include "compiler/import/onnx/Model.h"
#include "tests/fuzz/Edits.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include <cstdlib>
#include <cstring>

using namespace marver;

namespace {

/// Writes protobuf messages.
struct Message {
  std::string bytes;

  Message &varint(uint64_t value) {
    for (; value > 127; value >>= 7)
      bytes.push_back(char((value & 127) | 128));
    bytes.push_back(char(value));
    return *this;
  }
  Message &number(uint64_t field, uint64_t value) {
    return varint(field << 3).varint(value);
  }
  Message &text(uint64_t field, const std::string &value) {
    varint(field << 3 | 2).varint(value.size());
    bytes += value;
    return *this;
  }
  Message &part(uint64_t field, const Message &message) {
    return text(field, message.bytes);
  }
};

Message listAttribute(const char *name, std::initializer_list<int64_t> values) {
  Message attribute;
  attribute.text(1, name).number(20, 7);
  for (int64_t value : values)
    attribute.number(8, uint64_t(value));
  return attribute;
}

Message numberAttribute(const char *name, int64_t value) {
  Message attribute;
  return attribute.text(1, name).number(20, 2).number(3, uint64_t(value));
}

Message node(const char *type, std::initializer_list<const char *> inputs,
             const char *output, std::initializer_list<Message> attributes = {},
             const char *domain = "") {
  Message message;
  for (const char *input : inputs)
    message.text(1, input);
  message.text(2, output).text(4, type);
  if (*domain)
    message.text(7, domain);
  for (const Message &attribute : attributes)
    message.part(5, attribute);
  return message;
}

Message floats(const char *name, std::initializer_list<int64_t> dims) {
  Message tensor;
  int64_t count = 1;
  for (int64_t dim : dims) {
    tensor.number(1, uint64_t(dim));
    count *= dim;
  }
  return tensor.number(2, 1).text(8, name).text(9, std::string(count * 4, '<'));
}

Message ints(const char *name, std::initializer_list<int64_t> values) {
  Message tensor;
  tensor.number(1, values.size()).number(2, 7).text(8, name);
  for (int64_t value : values)
    tensor.number(7, uint64_t(value));
  return tensor;
}

Message info(const char *name, std::initializer_list<const char *> dims) {
  Message shape;
  for (const char *dim : dims) {
    Message size;
    if (*dim >= '0' && *dim <= '9')
      size.number(1, std::strtoull(dim, nullptr, 10));
    else
      size.text(2, dim);
    shape.part(1, size);
  }
  Message tensor, type, value;
  return value.text(1, name).part(
      2, type.part(1, tensor.number(1, 1).part(2, shape)));
}

/// A little of everything that the importer looks at closely.
std::string validModel() {
  Message function, opset, graph, model, other;
  opset.number(2, 18);
  function.text(1, "F").text(10, "d").text(4, "a").text(5, "b");
  function.part(7, node("Relu", {"a"}, "b")).part(9, opset);
  graph.part(
      1, node("Conv", {"x", "w"}, "c",
              {listAttribute("pads", {1, 1, 1, 1}),
               listAttribute("strides", {2, 1}), numberAttribute("group", 1)}));
  graph.part(1, node("MaxPool", {"c"}, "m",
                     {listAttribute("kernel_shape", {2, 2}),
                      numberAttribute("ceil_mode", 1)}));
  graph.part(1, node("Shape", {"m"}, "s"));
  graph.part(1, node("Gather", {"s", "zero"}, "n"));
  graph.part(1,
             node("Concat", {"n", "minus"}, "t", {numberAttribute("axis", 0)}));
  graph.part(1, node("Reshape", {"m", "t"}, "r"));
  graph.part(1, node("Slice", {"r", "zero", "minus", "one"}, "l"));
  graph.part(1, node("Pad", {"l", "four"}, "p"));
  graph.part(1, node("Transpose", {"p"}, "q", {listAttribute("perm", {1, 0})}));
  graph.part(1, node("ReduceMax", {"q", "zero"}, "u"));
  graph.part(1, node("Split", {"q"}, "v", {numberAttribute("axis", 1)}));
  graph.part(1, node("GatherND", {"q", "four"}, "o"));
  graph.part(1, node("Tile", {"u", "two"}, "h"));
  graph.part(1, node("Add", {"h", "u"}, "i"));
  graph.part(1, node("F", {"i"}, "y", {}, "d"));
  graph.part(5, floats("w", {2, 2, 3, 3}));
  graph.part(5, ints("zero", {0})).part(5, ints("minus", {-1}));
  graph.part(5, ints("one", {1})).part(5, ints("two", {1, 2}));
  graph.part(5, ints("four", {0, 1, 1, 0}));
  graph.part(11, info("x", {"N", "2", "6", "W"})).part(12, info("y", {}));
  model.number(1, 8).part(8, opset).part(8, other.text(1, "d").number(2, 1));
  return model.part(7, graph).part(25, function).bytes;
}

} // namespace

/// The bytes are edits (Edits.h) of a valid model. Whatever comes in, there is
/// a module that verifies, or an error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::string valid = validModel();
  std::vector<uint8_t> bytes(valid.begin(), valid.end());
  applyEdits(bytes, bytes.size(), data, size);

  static mlir::MLIRContext *context = nullptr;
  static unsigned runs = 0;
  if (runs++ % 256 == 0) { // constants stay until their context goes
    delete context;
    context = new mlir::MLIRContext(mlir::MLIRContext::Threading::DISABLED);
  }
  unsigned errors = 0;
  mlir::ScopedDiagnosticHandler handler(context, [&](mlir::Diagnostic &error) {
    errors += error.getSeverity() == mlir::DiagnosticSeverity::Error;
    if (error.str().empty() || error.str().find('\n') != std::string::npos)
      abort();
    return mlir::success();
  });
  ImportRequest request;
  request.path = "-";
  request.data = llvm::MemoryBuffer::getMemBufferCopy(llvm::StringRef(
      reinterpret_cast<const char *>(bytes.data()), bytes.size()));
  mlir::OwningOpRef<mlir::ModuleOp> module = importOnnx(context, request);
  if (bool(module) == (errors != 0))
    abort();
  if (module && mlir::failed(mlir::verify(*module)))
    abort();
  // An edit that changes nothing leaves a model that is imported.
  if (!module && std::equal(valid.begin(), valid.end(), bytes.begin()))
    abort();
  return 0;
}
