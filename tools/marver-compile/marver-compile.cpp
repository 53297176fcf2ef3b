//===- marver-compile.cpp - Compiles models to modules --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/driver/Driver.h"
#include "marver/abi.h"
#include "marver/format.h"
#include "tools/marver-compile/IreeFlags.h"
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <regex>
#include <set>

using namespace marver;

/// `name=file`, or a file alone; a file with `=` in its name and no entry name
/// before it is written as `main=a=b.onnx` or `./a=b.onnx`.
static CompileOptions::Graph parseGraph(const std::string &text) {
  static const std::regex named("([A-Za-z_][A-Za-z0-9_.-]*)=(.+)");
  std::smatch match;
  if (std::regex_match(text, match, named))
    return {match[1], match[2]};
  return {"main", text};
}

/// `INPUT:1x3x224x224` or `DIM=300`. Names may hold both characters themselves,
/// so the last one that a shape follows counts.
static CompileOptions::Shape parseShape(const std::string &text) {
  static const std::regex dims("(.+):([0-9]*(x[0-9]+)*)"), dim("(.+)=([0-9]+)");
  std::smatch match;
  CompileOptions::Shape shape;
  auto number = [&](const std::string &digits) {
    try {
      shape.dims.push_back(std::stoll(digits));
    } catch (const std::out_of_range &) {
      throw CLI::ValidationError("--shape", digits + " is too large for a dim");
    }
  };
  if (std::regex_match(text, match, dim)) {
    shape.isDim = true;
    number(match[2]);
  } else if (std::regex_match(text, match, dims)) {
    std::stringstream list(match[2]);
    for (std::string digits; std::getline(list, digits, 'x');)
      number(digits);
  } else {
    throw CLI::ValidationError(
        "--shape", "'" + text + "' is neither INPUT:1x3x224x224 nor DIM=300");
  }
  shape.name = match[1];
  return shape;
}

/// `DIM=300,600`.
static CompileOptions::Shape parseSpecialization(const std::string &text) {
  static const std::regex sizes("(.+)=([0-9]{1,18}(,[0-9]{1,18})*)");
  std::smatch match;
  if (!std::regex_match(text, match, sizes))
    throw CLI::ValidationError("--specialize",
                               "'" + text + "' is not DIM=300,600");
  CompileOptions::Shape dim{match[1], /*isDim=*/true, {}};
  std::stringstream list(match[2]);
  for (std::string digits; std::getline(list, digits, ',');)
    dim.dims.push_back(std::stoll(digits));
  return dim;
}

/// Options that only exist once their spelling is settled: `-` and `_` are
/// equal in flags, as in IREE's tools, whose flags are taken too.
static std::vector<std::string> normalizeFlags(int argc, char **argv) {
  std::vector<std::string> arguments;
  bool isFlag = true;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    isFlag &= argument != "--";
    if (isFlag && argument.starts_with("--"))
      for (char &c : argument) {
        if (c == '=')
          break;
        if (c == '_')
          c = '-';
      }
    if (isFlag && argument == "--sidecar=")
      argument.pop_back();
    arguments.push_back(argument);
    // A file follows after `=` only: what comes next may be a model.
    if (isFlag && argument == "--sidecar")
      arguments.emplace_back();
  }
  return translateIreeFlags(arguments);
}

// Only a wrong table of options throws.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char **argv) {
  CLI::App app{"Compiles a model to a native module.\n"
               "  marver-compile model.onnx -o model.mv\n"
               "  marver-compile enc=encoder.pt2 step=step.pt2 -o both.mv",
               "marver-compile"};
  CompileOptions options;
  std::vector<std::string> graphs, shapes, specializations, parameters;
  std::string level = "2", sidecar, winogradWeights = "made", weights = "f32",
              precision = "f32";
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option(
         "model", graphs,
         "a .pt2, .onnx or .mlir file, or - for standard input; several "
         "as NAME=FILE, each an entry point")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("-o,--output", options.output,
                 "the file to write (- for standard output); by default the "
                 "model's name with .mv, in the current folder")
      ->check([](const std::string &file) {
        return std::string(file.empty() ? "the name is empty" : "");
      });
  app.add_option("--target-cpu", options.targetCpu,
                 "CPU to compile for: host (default), x86-64-v3, x86-64-v4, "
                 "znver5, ..., aarch64, neoverse-n1, apple-m1, ...");
  app.add_option("-O", level, "0: quick to compile, 2: fast (default)")
      ->check(CLI::IsMember({"0", "2"}));
  app.add_option(
         "--weights", weights,
         "store the weights of contractions as f32 (default), bf16 or "
         "int8 (a scale for each output); arithmetic stays f32, and the "
         "rounding error is printed")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}));
  app.add_option("--precision", precision,
                 "f32 (default), or bf16: matrix products and convolutions "
                 "multiply bf16 weights and inputs and add in f32; for CPUs "
                 "with avx512_bf16")
      ->check(CLI::IsMember({"f32", "bf16"}));
  app.add_flag("--exact-convolutions", options.exactConvolutions,
               "compute convolutions by their definition, without Winograd's "
               "algorithm (up to 1e-5 of the largest value less error)");
  app.add_option("--winograd-weights", winogradWeights,
                 "made: transform weights when the module is loaded (default); "
                 "stored: keep them in the module, which grows")
      ->check(CLI::IsMember({"made", "stored"}));
  app.add_option("--compile-to", options.compileTo,
                 "stop after this stage and write its result")
      ->check(CLI::IsMember(
          {"import", "graph", "kernels", "buffers", "native", "package"}));
  app.add_option("--dump-stages-to", options.dumpStagesFolder,
                 "folder for the result of each stage");
  app.add_option("--dump-kernels-to", options.dumpKernelsFolder,
                 "folder for each kernel's MLIR, LLVM IR and assembly");
  auto *sidecarOption =
      app.add_option("--sidecar", sidecar,
                     "write names, operators and source lines for profiles and "
                     "errors to FILE (default: the output's name with .dbg)")
          ->expected(0, 1);
  app.add_option("--shape", shapes,
                 "INPUT:1x3x224x224 or DIM=300; INPUT is a name or a number")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--specialize", specializations,
                 "DIM=300,600: paths of their own for these sizes of a dim, "
                 "chosen at run time; other sizes still work")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--parameters", parameters,
                 "SCOPE=FILE or FILE: an .irpa, .safetensors or .gguf file of "
                 "weights that an .mlir file names")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("--list-inputs", options.listInputs,
               "print the model's inputs and their shapes, then stop");
  app.add_flag(
      "--explain", options.explain,
      "print why each kernel has its algorithm and tiles, and what was "
      "refused");
  app.add_flag("--time", options.time, "print the time of each stage and pass");
  app.add_option("--threads", options.threads,
                 "threads to compile with (default: all)");
  app.add_option("--crash-in", options.crashIn)->group(""); // for tests
  app.set_version_flag("--version",
                       "marver-compile " MARVER_VERSION " (module format " +
                           std::to_string(MV_FORMAT_VERSION) + ", ABI " +
                           std::to_string(MV_ABI_VERSION) + ")");
  try {
    std::vector<std::string> arguments = normalizeFlags(argc, argv);
    std::reverse(arguments.begin(), arguments.end());
    app.parse(arguments);
    for (const std::string &text : graphs)
      options.graphs.push_back(parseGraph(text));
    for (const std::string &text : parameters) {
      // The scope ends at the first `=`.
      const size_t equals = text.find('=');
      const bool hasScope = equals != std::string::npos;
      options.parameters.push_back({hasScope ? text.substr(0, equals) : "",
                                    hasScope ? text.substr(equals + 1) : text});
    }
    for (const std::string &text : shapes)
      options.shapes.push_back(parseShape(text));
    for (const std::string &text : specializations)
      options.specializations.push_back(parseSpecialization(text));
    options.optimization = std::stoi(level);
    options.weights = weights == "f32" ? "" : weights;
    options.bf16Contractions = precision == "bf16";
    if (options.bf16Contractions && options.weights == "int8")
      throw CLI::ValidationError("--weights",
                                 "--precision=bf16 has weights of bf16");
    if (options.bf16Contractions)
      options.weights = "bf16";
    if (!options.weights.empty() && options.optimization == 0)
      throw CLI::ValidationError(options.bf16Contractions ? "--precision"
                                                          : "--weights",
                                 "weights are packed at -O2 only");
    options.storeWinogradWeights = winogradWeights == "stored";

    std::set<std::string> entries;
    int fromStandardInput = 0;
    for (const CompileOptions::Graph &graph : options.graphs) {
      if (!entries.insert(graph.entry).second)
        throw CLI::ValidationError("model",
                                   "two graphs are called '" + graph.entry +
                                       "': write NAME=FILE for each of them");
      fromStandardInput += graph.path == "-";
    }
    if (fromStandardInput > 1)
      throw CLI::ValidationError("model", "only one graph can be read from -");
    if (options.output.empty()) {
      const CompileOptions::Graph &first = options.graphs.front();
      if (!options.listInputs &&
          (options.graphs.size() > 1 || first.path == "-"))
        throw CLI::RequiredError("--output");
      options.output = std::filesystem::path(first.path).stem().string() +
                       (options.compileTo == "package"  ? ".mv"
                        : options.compileTo == "native" ? ".bin"
                                                        : ".out.mlir");
    }
    if (sidecarOption->count() > 0) {
      if (sidecar.empty() && options.output == "-")
        throw CLI::ValidationError("--sidecar",
                                   "needs a file when the output is -");
      options.sidecar = sidecar.empty() ? options.output + ".dbg" : sidecar;
    }
    for (const std::string &file : {options.output, options.sidecar})
      for (const CompileOptions::Graph &graph : options.graphs) {
        std::error_code missing; // then it is no model, at least
        if (file != "-" &&
            std::filesystem::equivalent(file, graph.path, missing))
          throw CLI::ValidationError(file, "is the model itself, which would "
                                           "be overwritten");
      }
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == 0)
      return app.exit(error); // --help, --version
    std::cerr << "marver-compile: " << error.what()
              << " (--help lists the options)\n";
    return kBadUsage;
  }
  return compile(options);
}
