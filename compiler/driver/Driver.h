//===- Driver.h - A whole compilation ---------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What marver-compile does once its options are read. Plain C++, so that the
// tool itself needs no MLIR headers.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_DRIVER_DRIVER_H
#define MARVER_COMPILER_DRIVER_DRIVER_H

#include <cstdint>
#include <string>
#include <vector>

namespace marver {

/// Exit codes of the compiler.
enum ExitCode {
  kSuccess = 0,
  kBadInput = 1,
  kBadUsage = 2,
  kInternalFailure = 70
};

struct CompileOptions {
  struct Graph {
    std::string entry; ///< name of the entry point
    std::string path;  ///< `-`: standard input
  };
  struct Shape {
    std::string name; ///< input (name or number), or dim
    bool isDim = false;
    std::vector<int64_t> dims;
  };

  std::vector<Graph> graphs;
  std::string output; ///< `-`: standard output
  std::string targetCpu = "host";
  int optimization = 2;
  std::string weights; ///< of contractions: bf16, int8, or empty (f32)
  bool bf16Contractions = false;     ///< of bf16 operands; weights are bf16
  bool exactConvolutions = false;    ///< no Winograd
  bool storeWinogradWeights = false; ///< instead of making them at load
  std::string compileTo = "package"; ///< name of the last stage
  std::string dumpStagesFolder;      ///< empty: no dumps
  std::string dumpKernelsFolder;
  std::string sidecar; ///< path, or empty
  std::vector<Shape> shapes;
  /// Dims and the sizes of them that get paths of their own; several dims:
  /// every combination.
  std::vector<Shape> specializations;
  struct ParameterFile {
    std::string scope; ///< may be empty
    std::string path;
  };
  std::vector<ParameterFile> parameters;
  bool listInputs = false;
  bool explain = false; ///< print why each kernel is what it is
  bool time = false;
  unsigned threads = 0; ///< 0: as many as the machine has
  std::string crashIn;  ///< a pass to crash in, to test what follows
};

/// Compiles; messages go to standard error. Returns an ExitCode.
int compile(const CompileOptions &options);

} // namespace marver

#endif // MARVER_COMPILER_DRIVER_DRIVER_H
