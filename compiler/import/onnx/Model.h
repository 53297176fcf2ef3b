//===- Model.h - An ONNX file as data ---------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The parts of ONNX's protobuf messages that the importer uses. Names and bytes
// are views into the file, which must outlive the model. Nothing here has been
// checked for sense: that is the importer's work. The importer of MLIR fills
// the same structures from torch.operator "onnx.*".
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_ONNX_MODEL_H
#define MARVER_COMPILER_IMPORT_ONNX_MODEL_H

#include "mlir/IR/Attributes.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace marver::onnx {

/// TensorProto.DataType, the ones that are supported.
enum class DataType : int32_t {
  Undefined = 0,
  Float = 1,
  Uint8 = 2,
  Int8 = 3,
  Uint16 = 4,
  Int16 = 5,
  Int32 = 6,
  Int64 = 7,
  String = 8,
  Bool = 9,
  Float16 = 10,
  Double = 11,
  Uint32 = 12,
  Uint64 = 13,
  Bfloat16 = 16,
};

struct Entry {
  llvm::StringRef key, value;
};

struct Tensor {
  llvm::StringRef name;
  DataType type = DataType::Undefined;
  std::vector<int64_t> dims;
  /// Elements where they are stored raw, else in one of the lists.
  std::optional<llvm::StringRef> raw;
  std::vector<float> floats;
  std::vector<int32_t> ints32;
  std::vector<int64_t> ints64;
  std::vector<double> doubles;
  std::vector<uint64_t> uints64;
  std::vector<Entry> external;
  bool isExternal = false;
  /// Instead of all these: a constant (ElementsAttr, signless) of MLIR text.
  mlir::Attribute constant;
};

struct TypeDim {
  std::optional<int64_t> value;
  llvm::StringRef parameter;
};

/// The type of a value; anything but a tensor is only known not to be one.
struct Type {
  bool isTensor = false;
  DataType element = DataType::Undefined;
  std::optional<std::vector<TypeDim>> shape;
};

struct ValueInfo {
  llvm::StringRef name;
  Type type;
};

struct Graph;

struct Attribute {
  llvm::StringRef name;
  /// Inside a function: the attribute of the call that this one stands for.
  llvm::StringRef reference;
  int32_t kind = 0; ///< AttributeProto.AttributeType
  float real = 0;
  int64_t integer = 0;
  llvm::StringRef text;
  std::shared_ptr<Tensor> tensor;
  std::shared_ptr<Graph> graph;
  std::vector<float> reals;
  std::vector<int64_t> integers;
  std::vector<llvm::StringRef> texts;
};

struct Node {
  llvm::StringRef name, type, domain, overload;
  std::vector<llvm::StringRef> inputs, outputs;
  std::vector<Attribute> attributes;
  /// Where the exporter says that the node is from, or empty.
  llvm::StringRef stackTrace;
  /// Where the node is, if the file is text (LocationAttr), or null.
  mlir::Attribute location;
};

struct Graph {
  llvm::StringRef name;
  std::vector<Node> nodes;
  std::vector<Tensor> initializers;
  std::vector<ValueInfo> inputs, outputs;
  bool hasSparseInitializers = false;
};

struct OperatorSet {
  llvm::StringRef domain;
  int64_t version = 0;
};

struct Function {
  llvm::StringRef name, domain, overload;
  std::vector<llvm::StringRef> inputs, outputs;
  std::vector<Node> nodes;
  std::vector<Attribute> defaults;
  std::vector<OperatorSet> operatorSets;
};

struct Model {
  int64_t irVersion = 0;
  std::vector<OperatorSet> operatorSets;
  std::optional<Graph> graph;
  std::vector<Function> functions;
};

/// Parses `bytes`; on failure returns nullopt and says why in `error`.
std::optional<Model> parseModel(llvm::StringRef bytes, std::string &error);

} // namespace marver::onnx

#endif // MARVER_COMPILER_IMPORT_ONNX_MODEL_H
