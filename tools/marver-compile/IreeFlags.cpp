//===- IreeFlags.cpp - Command lines of iree-compile ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/marver-compile/IreeFlags.h"
#include <algorithm>
#include <iostream>
#include <optional>
#include <span>

namespace marver {
namespace {

struct Pair {
  const char *theirs, *ours;
};

/// Our word for `name`, or null.
const char *find(std::span<const Pair> table, const std::string &name) {
  for (const Pair &pair : table)
    if (name == pair.theirs)
      return pair.ours;
  return nullptr;
}

/// Our stage at whose end as much is done as at the end of IREE's phase.
constexpr Pair stages[] = {
    {"input", "import"},
    {"abi", "import"},
    {"preprocessing", "graph"},
    {"global-optimization", "graph"},
    {"dispatch-creation", "kernels"},
    {"flow", "kernels"},
    {"stream", "kernels"},
    {"executable-sources", "buffers"},
    {"executable-configurations", "buffers"},
    {"executable-targets", "native"},
    {"hal", "native"},
    {"vm", "native"},
    {"end", "package"},
};

/// Flags that take another name; a value stays as it is.
constexpr Pair renamed[] = {
    {"iree-llvmcpu-target-cpu", "target-cpu"},
    {"dump-compilation-phases-to", "dump-stages-to"},
    {"iree-hal-dump-executable-files-to", "dump-kernels-to"},
    {"iree-hal-dump-executable-intermediates-to", "dump-kernels-to"},
    {"mlir-timing", "time"},
};

/// Flags that say what is so anyway.
bool isGiven(const std::string &name, const std::string &value) {
  if (name == "iree-hal-target-backends" ||
      name == "iree-hal-local-target-device-backends")
    return value == "llvm-cpu";
  if (name == "iree-hal-target-device")
    return value == "local" || value == "llvm-cpu";
  return name == "iree-input-type" || name == "iree-vm-target-index-bits" ||
         name == "iree-opt-const-eval" || name == "iree-opt-data-tiling" ||
         name == "iree-dispatch-creation-data-tiling" ||
         name == "iree-llvmcpu-enable-ukernels" ||
         name == "iree-llvmcpu-stack-allocation-limit" ||
         name == "iree-global-opt-propagate-transposes" ||
         name == "output-format";
}

/// The oldest CPU of the architecture in --iree-llvmcpu-target-triple.
const char *baselineOf(const std::vector<std::string> &arguments) {
  for (const std::string &argument : arguments)
    if (argument.starts_with("--iree-llvmcpu-target-triple=aarch64") ||
        argument.starts_with("--iree-llvmcpu-target-triple=arm64"))
      return "aarch64";
  return "x86-64-v3";
}

bool namesCpu(const std::vector<std::string> &arguments) {
  return std::any_of(
      arguments.begin(), arguments.end(), [](const std::string &argument) {
        return argument.starts_with("--target-cpu=") ||
               argument.starts_with("--iree-llvmcpu-target-cpu=");
      });
}

/// The flag in our terms; empty if it is left out, nullopt if it is none of
/// IREE's. All `arguments` matter to those that name the target together.
std::optional<std::string>
translate(const std::string &name, const std::string &value,
          const std::vector<std::string> &arguments) {
  auto leaveOut = [&](const std::string &why) {
    std::cerr << "marver-compile: warning: --" << name
              << (value.empty() ? "" : "=" + value) << ": left out: " << why
              << "\n";
    return "";
  };
  if (isGiven(name, value))
    return "";
  if (name == "compile-to") {
    const char *stage = find(stages, value);
    if (!stage)
      return std::nullopt;
    return "--compile-to=" + std::string(stage);
  }
  if (name == "iree-opt-level")
    return value == "O0" || value == "0" ? "-O0" : "-O2";
  if (const char *found = find(renamed, name)) {
    const std::string ours = found;
    // IREE's generic is the oldest CPU of the architecture.
    if (ours == "target-cpu" && value == "generic")
      return std::string("--target-cpu=") + baselineOf(arguments);
    return "--" + ours + (ours == "time" || value.empty() ? "" : "=" + value);
  }
  if (name == "iree-hal-target-device" || name == "iree-hal-target-backends" ||
      name == "iree-hal-local-target-device-backends")
    return leaveOut("marver compiles for the CPU");
  if (name == "iree-llvmcpu-target-cpu-features")
    return leaveOut("--target-cpu says which instructions there are");
  if (name == "iree-llvmcpu-target-triple" && value.find("linux") != value.npos)
    return namesCpu(arguments)
               ? ""
               : std::string("--target-cpu=") + baselineOf(arguments);
  if (name == "compile-from")
    return leaveOut("marver starts at the model");
  if (name.starts_with("iree-"))
    return leaveOut("it configures IREE's own way to compile");
  if (name.starts_with("mlir-"))
    return leaveOut("see --dump-stages-to, --compile-to and --time");
  return std::nullopt;
}

} // namespace

std::vector<std::string>
translateIreeFlags(const std::vector<std::string> &arguments) {
  std::vector<std::string> result;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string &argument = arguments[i];
    if (argument == "--") {
      result.insert(result.end(), arguments.begin() + i, arguments.end());
      break;
    }
    const size_t equals = argument.find('=');
    if (!argument.starts_with("--")) {
      result.push_back(argument);
      continue;
    }
    std::optional<std::string> ours = translate(
        argument.substr(2, equals == std::string::npos ? equals : equals - 2),
        equals == std::string::npos ? "" : argument.substr(equals + 1),
        arguments);
    if (!ours)
      result.push_back(argument);
    else if (!ours->empty())
      result.push_back(*ours);
  }
  return result;
}

} // namespace marver
