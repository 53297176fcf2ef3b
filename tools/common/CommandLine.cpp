//===- CommandLine.cpp - Flags of marver-run and marver-bench -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A command line written for iree-run-module or iree-benchmark-module works:
// what has a counterpart here is translated, the rest is left out with a word
// on what it would have done.
//
//===----------------------------------------------------------------------===//

#include "tools/common/Program.h"

#include <CLI/CLI.hpp>

using namespace marver;

//===----------------------------------------------------------------------===//
// Declarations
//===----------------------------------------------------------------------===//

/// In front of each value of a text option. CLI11 would take an empty value for
/// a missing one, and one that begins with `-` for a flag.
static constexpr char mark = '\x01';

void marver::addTextOption(CLI::App &app, const std::string &name,
                           std::vector<std::string> &values,
                           const std::string &help) {
  app.add_option_function<std::vector<std::string>>(
         name,
         [&values](const std::vector<std::string> &given) {
           for (const std::string &value : given)
             values.push_back(
                 !value.empty() && value[0] == mark ? value.substr(1) : value);
         },
         help)
      ->allow_extra_args(false)
      ->type_name("TEXT");
}

void marver::addCommonOptions(CLI::App &app, CommonOptions &options) {
  app.set_version_flag("--version",
                       app.get_name() + " " + mv_version() + " (format " +
                           std::to_string(mv_format_version()) + ", ABI " +
                           std::to_string(mv_abi_version()) + ")");
  auto *positional = app.add_option("MODULE", options.module,
                                    "module to run (.mv); - is stdin");
  app.add_option("--module", options.module, "the same")->excludes(positional);
  app.add_option_function<std::string>(
         "--function",
         [&options](const std::string &name) {
           options.function = name;
           options.functionGiven = true;
         },
         "function to call (default: main)")
      ->type_name("NAME");
  addTextOption(app, "--input", options.inputs,
                "an input, in order: 2x2xf32=1 2 3 4 | 2x2xf32=1 | 2x2xf32 | "
                "3.5 | @f.npy | +f.npy | *f.npy | 2x2xf32=@f.bin | "
                "2x2xf32=random:SEED");
  app.add_flag("--verify", options.verify,
               "check the hashes of the constants as well");
  app.add_option("--public-key", options.publicKey,
                 "run nothing that is not signed with this Ed25519 key: a file "
                 "of 32 bytes, or 64 hexadecimal digits")
      ->type_name("KEY");
  app.add_flag("--print-statistics", options.statistics,
               "print memory and counters to stderr");
}

bool marver::parseArguments(CLI::App &app, std::vector<std::string> arguments,
                            int &exitCode) {
  // CLI11 takes them from the back.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  // A flag that is given twice has its last value, as in IREE's tools; lists
  // take all.
  for (CLI::Option *option : app.get_options())
    if (option->get_multi_option_policy() == CLI::MultiOptionPolicy::Throw &&
        option->get_expected_max() == 1)
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  try {
    app.parse(reversed);
  } catch (const CLI::Success &success) {
    exitCode = app.exit(success);
    return false;
  } catch (const CLI::ParseError &error) {
    std::string message = error.what();
    std::erase(message, mark);
    printError(message + " (see " + app.get_name() + " --help)");
    exitCode = BadUsage;
    return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// IREE's flags
//===----------------------------------------------------------------------===//

namespace {
struct ForeignFlag {
  const char *name; ///< a final `*` stands for any rest
  const char *meaning;
};
} // namespace

/// Flags of IREE's tools without a counterpart: what they do there.
static const ForeignFlag foreignFlags[] = {
    {"parameters", "it would load weights from a file; a marver module "
                   "contains its weights"},
    {"parameter-*", "it would say how weights are loaded; a marver module "
                    "contains its weights"},
    {"module-mode", "it would choose how the module is read; marver maps it"},
    {"device-allocator", "it would choose an allocator; marver has one arena "
                         "per session"},
    {"device-profiling-*", "it would start a vendor's profiler; see "
                           "marver-bench --profile"},
    {"device-*", "it would configure a device; marver runs on the CPU"},
    {"task-topology-*", "it would place worker threads; use --threads, and "
                        "taskset for the CPUs"},
    {"task-*", "it would configure worker threads; use --threads"},
    {"executable-*", "it would configure the loading of code"},
    {"list-devices", "it would list devices; marver runs on the CPU"},
    {"list-drivers", "it would list drivers; marver runs on the CPU"},
    {"dump-devices", "it would describe devices; marver runs on the CPU"},
    {"dump-task-topologies", "it would describe worker threads; use --threads"},
    {"print-device-statistics", "it would print a device's counters; see "
                                "--print-statistics"},
    {"instrument-file", "it would store what an instrumented module counted; "
                        "see marver-bench --profile"},
    {"enable-output-processing", "it would keep the last outputs; use "
                                 "marver-run to see them"},
    {"output", "it would store the last outputs; use marver-run to see them"},
    {"expected-output", "it would compare the last outputs; use marver-run to "
                        "check them"},
    {"agents-md", "it would print a guide to IREE's tool"},
    {"trace-execution", "it would trace the virtual machine; a marver module "
                        "is native code"},
    {"trace-*", "it would trace the run; see marver-bench --profile"},
    {"batch-concurrency", "it would run several calls at once"},
    {"batch-size", "it would count several items in one call"},
    {"allocator-*", "it would configure an allocator"},
    {"flagfile", "it would read flags from a file"},
    {"agents-file", "it would read flags from a file"},
    {"cpu-*", "it would configure the CPU driver"},
    {"local-*", "it would configure the CPU driver"},
    {"cuda-*", "it would configure a GPU; marver runs on the CPU"},
    {"hip-*", "it would configure a GPU; marver runs on the CPU"},
    {"amdgpu-*", "it would configure a GPU; marver runs on the CPU"},
    {"vulkan-*", "it would configure a GPU; marver runs on the CPU"},
    {"metal-*", "it would configure a GPU; marver runs on the CPU"},
    {"webgpu-*", "it would configure a GPU; marver runs on the CPU"},
};

static const ForeignFlag *findForeign(const std::string &name) {
  for (const ForeignFlag &flag : foreignFlags) {
    std::string pattern = flag.name;
    bool matches = pattern.ends_with('*')
                       ? name.starts_with(pattern.substr(0, pattern.size() - 1))
                       : name == pattern;
    if (matches)
      return &flag;
  }
  return nullptr;
}

/// Translates or drops a flag of IREE's tools; false if it is none.
static bool takeForeign(const std::string &name, const std::string &value,
                        std::vector<std::string> &arguments) {
  if (name == "device") {
    if (value == "local-sync")
      arguments.push_back("--threads=1");
    else if (!value.starts_with("local"))
      printWarning("--device=" + value +
                   ": left out: it would run on that device; marver runs on "
                   "the CPU");
    return true;
  }
  if (name == "task-topology-group-count" ||
      name == "task-topology-max-group-count") {
    arguments.push_back("--threads=" + value);
    return true;
  }
  if (name == "expected-f16-threshold" || name == "expected-f32-threshold" ||
      name == "expected-f64-threshold" || name == "expected-bf16-threshold") {
    arguments.push_back("--rtol=0");
    arguments.push_back("--atol=" + value);
    return true;
  }
  const ForeignFlag *flag = findForeign(name);
  if (!flag)
    return false;
  printWarning("--" + name + ": left out: " + flag->meaning);
  return true;
}

std::vector<std::string> marver::prepareArguments(
    int argc, char **argv, const std::vector<std::string> &textOptions,
    const std::string &passPrefix, std::vector<std::string> &passed) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument == "--") {
      arguments.insert(arguments.end(), argv + i, argv + argc);
      break;
    }
    if (!argument.starts_with("--")) {
      arguments.push_back(argument);
      continue;
    }
    size_t equals = argument.find('=');
    bool hasValue = equals != std::string::npos;
    std::string name = argument.substr(2, hasValue ? equals - 2 : equals);
    std::string value = hasValue ? argument.substr(equals + 1) : "";
    for (char &c : name)
      if (c == '_')
        c = '-';
    bool isText = false;
    for (const std::string &option : textOptions)
      isText |= option == name;
    if (isText) {
      // The value may also be the next argument.
      arguments.push_back("--" + name);
      if (hasValue)
        arguments.push_back(mark + value);
      else if (i + 1 < argc)
        arguments.push_back(mark + std::string(argv[++i]));
    } else if (!passPrefix.empty() && name.starts_with(passPrefix)) {
      for (char &c : name)
        if (c == '-')
          c = '_';
      passed.push_back("--" + name + (hasValue ? "=" + value : ""));
    } else if (!takeForeign(name, value, arguments)) {
      arguments.push_back("--" + name + (hasValue ? "=" + value : ""));
    }
  }
  return arguments;
}
