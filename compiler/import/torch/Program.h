//===- Program.h - An exported program as its file states it -----*- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An exported program in plain structures, without any meaning of operators.
// Here it is read from the serialized ExportedProgram (models/NAME.json of the
// archive); the importer of torch-mlir's dialect fills the same structures.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_TORCH_PROGRAM_H
#define MARVER_COMPILER_IMPORT_TORCH_PROGRAM_H

#include "compiler/import/torch/Archive.h"
#include "compiler/import/torch/SymExpr.h"
#include "mlir/IR/Location.h"

namespace marver::torch {

/// torch._export.serde.schema.ScalarType.
enum class ScalarType {
  Unknown = 0,
  Byte = 1,
  Char = 2,
  Short = 3,
  Int = 4,
  Long = 5,
  Half = 6,
  Float = 7,
  Double = 8,
  Bool = 12,
  BFloat16 = 13,
  UInt16 = 28,
  UInt32 = 34,
  UInt64 = 35,
};

bool isFloating(ScalarType type);
bool isUnsigned(ScalarType type);
/// float32, int64, ...
std::string nameOf(ScalarType type);

struct TensorMeta {
  ScalarType type = ScalarType::Unknown;
  llvm::SmallVector<SymExpr, 4> sizes;
  /// Row-major without gaps.
  bool isContiguous = true;
  /// Of weights only: where the elements lie in the file.
  llvm::SmallVector<int64_t, 4> strides;
  int64_t offset = 0; ///< in elements
};

struct Argument {
  enum Kind {
    None,
    Tensor, ///< text: its name
    Int,
    Float,
    Bool,
    String,
    SymInt,   ///< text: its name
    SymFloat, ///< text: its name
    SymBool,  ///< text: its name
    ScalarType,
    MemoryFormat,
    Layout,
    Device,
    Graph, ///< integer: its number among the program's regions
    List,
    Other, ///< text: the field's name
  };
  Kind kind = None;
  std::string text;
  int64_t integer = 0; ///< Int, Bool, ScalarType, MemoryFormat, Layout
  double number = 0;   ///< Float
  std::vector<Argument> list;
};

struct Node {
  std::string target;
  std::string name;
  std::string stackTrace;
  /// Where the node is, if the file is one that a user reads; else null, and
  /// the stack trace says where it is from.
  mlir::LocationAttr location;
  std::vector<std::pair<std::string, Argument>> inputs;
  std::vector<Argument> outputs;
};

/// What a higher-order operator calls. Its names are unique in the program;
/// weights and values from outside are inputs of it too.
struct Region {
  std::vector<Argument> inputs, outputs;
  std::vector<Node> nodes;
};

struct InputSpec {
  enum Kind {
    User,
    Parameter,
    Buffer,
    Constant,
    ConstantValue,
    CustomObject,
    Token
  };
  Kind kind = User;
  /// The graph's value; of a ConstantValue its name only.
  Argument value;
  /// Parameter, Buffer, Constant: name in the weights' or constants' table.
  std::string source;
  bool persistent = true;
};

struct OutputSpec {
  enum Kind { User, Mutation, Other };
  Kind kind = User;
  Argument value;
  /// Mutation: what is written; Other: the kind's name.
  std::string target;
};

/// One entry of the weights' or constants' table.
struct Payload {
  std::string path;
  bool pickled = false;
  TensorMeta meta;
};

struct Program {
  int64_t schemaMajor = 0, schemaMinor = 0;
  std::string torchVersion;
  std::vector<Node> nodes;
  std::vector<Region> regions;
  std::vector<InputSpec> inputs;
  std::vector<OutputSpec> outputs;
  llvm::StringMap<TensorMeta> tensors;
  /// Sizes that are values of the graph.
  llvm::StringMap<SymExpr> symInts;
  std::vector<std::string> guards;
  llvm::StringMap<Payload> weights, constants;
  /// Declared symbols, in the order of their first use by the inputs.
  SymContext symbols;

  /// Reads models/NAME.json and the two tables.
  static llvm::Expected<std::unique_ptr<Program>> read(const Package &package);
};

} // namespace marver::torch

#endif // MARVER_COMPILER_IMPORT_TORCH_PROGRAM_H
