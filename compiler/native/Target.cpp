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
#include "llvm/TargetParser/AArch64TargetParser.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <mutex>
#include <unistd.h>

using namespace llvm;

namespace marver {
namespace {

/// Instructions beyond a level that have a bit in the module's header.
struct Extension {
  StringLiteral feature; ///< LLVM's name
  uint64_t bit;          ///< MV_X86_* or MV_ARM_*
  bool needsWide = false;
};

/// Data caches of one core where the machine itself cannot be asked.
struct Caches {
  int64_t l1, l2, l3;
};

/// An instruction set level with the shape of its vectors.
struct Level {
  StringLiteral cpu; ///< LLVM's name of a CPU that has nothing else
  ArrayRef<StringLiteral> features;
  uint64_t bits;
  int64_t lanes, vectorRegisters;
  Caches caches;
};

/// What all CPUs of an architecture share.
struct Architecture {
  uint32_t arch; ///< MV_ARCH_*
  StringLiteral triple;
  /// The name in --target-cpu of the lowest level, where LLVM has none.
  StringLiteral baselineName;
  /// The lowest level first, which is required.
  ArrayRef<Level> levels;
  ArrayRef<Extension> extensions;
  /// The oldest CPUs that code is for, in words.
  StringLiteral baseline;
};

// As the runtime checks them at load.
constexpr StringLiteral kX86V3[] = {"cx16", "sahf",  "sse4.2", "popcnt",
                                    "avx2", "bmi",   "bmi2",   "f16c",
                                    "fma",  "lzcnt", "movbe"};
constexpr StringLiteral kX86V4[] = {"avx512f", "avx512bw", "avx512cd",
                                    "avx512dq", "avx512vl"};
constexpr StringLiteral kNeon[] = {"neon", "fp-armv8"};

constexpr Level kX86Levels[] = {
    {"x86-64-v3", kX86V3, MV_X86_V3, 8, 16, {32 << 10, 512 << 10, 8 << 20}},
    {"x86-64-v4", kX86V4, MV_X86_V4, 16, 32, {32 << 10, 1 << 20, 8 << 20}},
};
constexpr Level kArmLevels[] = {
    {"generic", kNeon, 0, 4, 32, {64 << 10, 512 << 10, 4 << 20}},
};
constexpr Extension kX86Extensions[] = {
    {"avx512vnni", MV_X86_AVX512_VNNI, true},
    {"avx512bf16", MV_X86_AVX512_BF16, true},
    {"avx512fp16", MV_X86_AVX512_FP16, true},
    {"avxvnni", MV_X86_AVX_VNNI},
};
constexpr Extension kArmExtensions[] = {
    {"dotprod", MV_ARM_DOTPROD},
    {"i8mm", MV_ARM_I8MM},
    {"bf16", MV_ARM_BF16},
    {"fullfp16", MV_ARM_FP16},
};
constexpr Architecture kArchitectures[] = {
    {MV_ARCH_X86_64, "x86_64-unknown-linux-gnu", "x86-64-v3", kX86Levels,
     kX86Extensions, "x86-64-v3 (AVX2, FMA, BMI2, F16C)"},
    {MV_ARCH_AARCH64, "aarch64-unknown-linux-gnu", "aarch64", kArmLevels,
     kArmExtensions, "AArch64 with Advanced SIMD"},
};

void initializeTargets() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
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

/// The CPUs that reach the architecture's baseline, in LLVM's order.
SmallVector<StringRef> knownCpus(const Architecture &architecture) {
  SmallVector<StringRef> names;
  // LLVM's "generic" would not say of which architecture.
  if (architecture.baselineName != architecture.levels.front().cpu)
    names.push_back(architecture.baselineName);
  auto all =
      subtargetOf(architecture.triple, "")->getAllProcessorDescriptions();
  for (const SubtargetSubTypeKV &cpu : all) {
    StringRef name = cpu.Key;
    auto subtarget = subtargetOf(architecture.triple, name);
    if (name != "generic" &&
        hasAll(architecture.levels.front().features, [&](StringRef feature) {
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

/// The target with the highest level and the extensions that `has` finds.
template <typename HasFeature>
TargetInfo describe(const Architecture &architecture, StringRef tuneCpu,
                    HasFeature has) {
  TargetInfo info;
  info.triple = architecture.triple.str();
  info.arch = architecture.arch;
  info.tuneCpu = tuneCpu.str();
  info.cpuFeatures = 0;
  const Level *level = nullptr;
  for (const Level &next : architecture.levels) {
    if (level && !hasAll(next.features, has))
      break;
    level = &next;
    info.cpuFeatures |= next.bits;
  }
  info.cpu = level->cpu.str();
  info.lanes = level->lanes;
  info.vectorRegisters = level->vectorRegisters;
  info.l1Bytes = level->caches.l1;
  info.l2Bytes = level->caches.l2;
  info.l3Bytes = level->caches.l3;
  bool isWide = level != &architecture.levels.front();
  SmallVector<std::string> extensions;
  for (const Extension &extension : architecture.extensions) {
    if (!has(extension.feature) || (extension.needsWide && !isWide))
      continue;
    extensions.push_back(("+" + extension.feature).str());
    info.cpuFeatures |= extension.bit;
  }
  info.features = join(extensions, ",");
  return info;
}

std::optional<TargetInfo> describeHost(std::string &error) {
  Triple process(sys::getProcessTriple());
  const auto *architecture =
      find_if(kArchitectures, [&](const Architecture &candidate) {
        return Triple(candidate.triple).getArch() == process.getArch();
      });
  if (architecture == std::end(kArchitectures)) {
    error = "this machine is no x86-64 or AArch64: name a CPU with "
            "--target-cpu";
    return std::nullopt;
  }
  // Not the named CPU's features: a virtual machine may mask some of them.
  StringMap<bool> features = sys::getHostCPUFeatures();
  auto has = [&](StringRef feature) { return features.lookup(feature); };
  if (!hasAll(architecture->levels.front().features, has)) {
    error = ("this machine's CPU lacks " + architecture->baseline +
             "; name the CPU that the module is for with --target-cpu")
                .str();
    return std::nullopt;
  }
  initializeTargets();
  TargetInfo info = describe(*architecture, sys::getHostCPUName(), has);
  info.l1Bytes = sysconfOr(_SC_LEVEL1_DCACHE_SIZE, info.l1Bytes);
  info.l2Bytes = sysconfOr(_SC_LEVEL2_CACHE_SIZE, info.l2Bytes);
  info.l3Bytes = sysconfOr(_SC_LEVEL3_CACHE_SIZE, info.l3Bytes);
  return info;
}

} // namespace

std::optional<TargetInfo> selectTarget(StringRef name, std::string &error) {
  if (name == "host")
    return describeHost(error);
  // Apple's chips go by the names of their cores in LLVM's table.
  name = AArch64::resolveCPUAlias(name);
  // LLVM only warns of a name that it does not know, so ask its table.
  std::string known;
  for (const Architecture &architecture : kArchitectures) {
    SmallVector<StringRef> cpus = knownCpus(architecture);
    if (is_contained(cpus, name)) {
      StringRef cpu = name == architecture.baselineName
                          ? StringRef(architecture.levels.front().cpu)
                          : name;
      auto subtarget = subtargetOf(architecture.triple, cpu);
      return describe(architecture, cpu, [&](StringRef feature) {
        return subtarget->checkFeatures(("+" + feature).str());
      });
    }
    known += ", " + join(cpus, ", ");
  }
  error = ("'" + name +
           "' is no CPU that code can be generated for; known are host" + known)
              .str();
  return std::nullopt;
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
