//===- Target.cpp - From --target-cpu to a target description -------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/native/Target.h"

#include "marver/abi.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <mutex>
#include <unistd.h>

using namespace llvm;

namespace marver {
namespace {

/// The instructions of each level, as the runtime checks them at load.
constexpr StringLiteral kX86V3[] = {"cx16", "sahf",  "sse4.2", "popcnt",
                                    "avx2", "bmi",   "bmi2",   "f16c",
                                    "fma",  "lzcnt", "movbe"};
constexpr StringLiteral kX86V4[] = {"avx512f", "avx512bw", "avx512cd",
                                    "avx512dq", "avx512vl"};

/// Extensions beyond the levels that have a bit in the module's header.
struct Extension {
  StringLiteral feature;
  uint64_t bit;
  bool needsV4;
};
constexpr Extension kX86Extensions[] = {
    {"avx512vnni", MV_X86_AVX512_VNNI, true},
    {"avx512bf16", MV_X86_AVX512_BF16, true},
    {"avx512fp16", MV_X86_AVX512_FP16, true},
    {"avxvnni", MV_X86_AVX_VNNI, false},
};

/// Data caches of one core where the machine itself cannot be asked.
struct Caches {
  int64_t l1, l2, l3;
};

void initializeTargets() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
}

const llvm::Target *lookup(StringRef triple) {
  initializeTargets();
  std::string error;
  return TargetRegistry::lookupTarget(Triple(triple), error);
}

std::unique_ptr<MCSubtargetInfo> subtargetOf(StringRef triple, StringRef cpu) {
  const llvm::Target *target = lookup(triple);
  return std::unique_ptr<MCSubtargetInfo>(
      target->createMCSubtargetInfo(Triple(triple), cpu, ""));
}

template <typename HasFeature>
bool hasAll(ArrayRef<StringLiteral> features, HasFeature has) {
  return all_of(features, [&](StringRef feature) { return has(feature); });
}

/// The CPUs that reach the baseline, in LLVM's order.
SmallVector<StringRef> knownCpus(StringRef triple) {
  SmallVector<StringRef> names;
  auto all = subtargetOf(triple, "")->getAllProcessorDescriptions();
  for (const SubtargetSubTypeKV &cpu : all) {
    StringRef name = cpu.Key;
    auto subtarget = subtargetOf(triple, name);
    if (hasAll(kX86V3, [&](StringRef feature) {
          return subtarget->checkFeatures(("+" + feature).str());
        }))
      names.push_back(name);
  }
  return names;
}

int64_t sysconfOr(int name, int64_t otherwise) {
  long value = sysconf(name);
  return value > 0 ? value : otherwise;
}

template <typename HasFeature>
TargetInfo describeX86(StringRef tuneCpu, HasFeature has) {
  TargetInfo info;
  bool v4 = hasAll(kX86V4, has);
  info.arch = MV_ARCH_X86_64;
  info.cpu = v4 ? "x86-64-v4" : "x86-64-v3";
  info.tuneCpu = tuneCpu.str();
  info.cpuFeatures = MV_X86_V3 | (v4 ? MV_X86_V4 : 0);
  info.lanes = v4 ? 16 : 8;
  info.vectorRegisters = v4 ? 32 : 16;
  SmallVector<std::string> extensions;
  for (const Extension &extension : kX86Extensions) {
    if (!has(extension.feature) || (extension.needsV4 && !v4))
      continue;
    extensions.push_back(("+" + extension.feature).str());
    info.cpuFeatures |= extension.bit;
  }
  info.features = join(extensions, ",");
  info.l1Bytes = 32 << 10;
  info.l2Bytes = v4 ? 1 << 20 : 512 << 10;
  info.l3Bytes = 8 << 20;
  return info;
}

} // namespace

std::optional<TargetInfo> selectTarget(StringRef name, std::string &error) {
  const std::string triple = TargetInfo().triple;
  if (name == "host") {
    if (Triple(sys::getProcessTriple()).getArch() != Triple(triple).getArch()) {
      error = "this machine is no x86-64: name a CPU with --target-cpu";
      return std::nullopt;
    }
    // Not the named CPU's features: a virtual machine may mask some of them.
    StringMap<bool> features = sys::getHostCPUFeatures();
    auto has = [&](StringRef feature) { return features.lookup(feature); };
    if (!hasAll(kX86V3, has)) {
      error =
          "this machine's CPU lacks x86-64-v3 (AVX2, FMA, BMI2, F16C); name "
          "the CPU that the module is for with --target-cpu";
      return std::nullopt;
    }
    initializeTargets();
    TargetInfo info = describeX86(sys::getHostCPUName(), has);
    info.l1Bytes = sysconfOr(_SC_LEVEL1_DCACHE_SIZE, info.l1Bytes);
    info.l2Bytes = sysconfOr(_SC_LEVEL2_CACHE_SIZE, info.l2Bytes);
    info.l3Bytes = sysconfOr(_SC_LEVEL3_CACHE_SIZE, info.l3Bytes);
    return info;
  }
  // LLVM only warns of a name that it does not know, so ask its table.
  SmallVector<StringRef> known = knownCpus(triple);
  if (!is_contained(known, name)) {
    error = ("'" + name +
             "' is no CPU that code can be generated for; known are host, " +
             join(known, ", "))
                .str();
    return std::nullopt;
  }
  auto subtarget = subtargetOf(triple, name);
  return describeX86(name, [&](StringRef feature) {
    return subtarget->checkFeatures(("+" + feature).str());
  });
}

std::unique_ptr<TargetMachine> createTargetMachine(const TargetInfo &target,
                                                   bool optimize) {
  TargetOptions options;
  // Only what emitters ask for (vector.fma) is contracted.
  options.AllowFPOpFusion = FPOpFusion::Standard;
  options.FunctionSections = false;
  options.EmitAddrsig = false;
  return std::unique_ptr<TargetMachine>(
      lookup(target.triple)
          ->createTargetMachine(
              Triple(target.triple), target.cpu, target.features, options,
              Reloc::PIC_, CodeModel::Small,
              optimize ? CodeGenOptLevel::Aggressive : CodeGenOptLevel::Less));
}

} // namespace marver
