//===- Cpu.cpp - What the CPU can do --------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Cpu.h"

#include "marver/abi.h"

#include <cstdio>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <xmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

using namespace marver;

uint16_t marver::hostArch() {
#if defined(__x86_64__)
  return MV_ARCH_X86_64;
#elif defined(__aarch64__)
  return MV_ARCH_AARCH64;
#else
  return 0;
#endif
}

const char *marver::archName(uint16_t arch) {
  switch (arch) {
  case MV_ARCH_X86_64:
    return "x86-64";
  case MV_ARCH_AARCH64:
    return "aarch64";
  default:
    return nullptr;
  }
}

namespace {
struct FeatureName {
  uint64_t feature;
  const char *name;
};
} // namespace

// Names as /proc/cpuinfo has them.
static const FeatureName x86Names[] = {
    {MV_X86_V3, "x86-64-v3 (avx2, fma, bmi2, f16c)"},
    {MV_X86_V4, "x86-64-v4 (avx512f, bw, cd, dq, vl)"},
    {MV_X86_AVX512_VNNI, "avx512_vnni"},
    {MV_X86_AVX512_BF16, "avx512_bf16"},
    {MV_X86_AVX512_FP16, "avx512_fp16"},
    {MV_X86_AVX_VNNI, "avx_vnni"},
    {MV_X86_AVX512_IFMA, "avx512ifma"},
    {MV_X86_AVX512_VBMI, "avx512vbmi"},
    {MV_X86_AVX512_VBMI2, "avx512_vbmi2"},
    {MV_X86_AVX512_BITALG, "avx512_bitalg"},
    {MV_X86_AVX512_VPOPCNTDQ, "avx512_vpopcntdq"},
    {MV_X86_GFNI, "gfni"},
    {MV_X86_VAES, "vaes"},
    {MV_X86_VPCLMULQDQ, "vpclmulqdq"},
    {MV_X86_AMX_INT8, "amx_int8"},
    {MV_X86_AMX_BF16, "amx_bf16"},
    {MV_X86_AVX512_VP2INTERSECT, "avx512_vp2intersect"},
    {MV_X86_AVX_VNNI_INT8, "avx_vnni_int8"},
};

static const FeatureName armNames[] = {
    {MV_ARM_DOTPROD, "asimddp"},
    {MV_ARM_I8MM, "i8mm"},
    {MV_ARM_BF16, "bf16"},
    {MV_ARM_FP16, "fphp"},
};

void marver::describeCpuFeatures(uint16_t arch, uint64_t features, char *text,
                                 size_t size) {
  const FeatureName *names = x86Names;
  size_t count = sizeof(x86Names) / sizeof(*x86Names);
  if (arch == MV_ARCH_AARCH64) {
    names = armNames;
    count = sizeof(armNames) / sizeof(*armNames);
  }
  size_t used = 0;
  text[0] = '\0';
  for (int bit = 0; bit < 64; ++bit) {
    uint64_t feature = uint64_t(1) << bit;
    if (!(features & feature) || used >= size)
      continue;
    const char *name = nullptr;
    for (size_t i = 0; i < count; ++i)
      if (names[i].feature == feature)
        name = names[i].name;
    const char *separator = used == 0 ? "" : ", ";
    int length =
        name ? snprintf(text + used, size - used, "%s%s", separator, name)
             : snprintf(text + used, size - used, "%sunknown feature %d",
                        separator, bit);
    used += static_cast<size_t>(length);
  }
}

#if defined(__x86_64__)

namespace {
struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};
} // namespace

static Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx))
    return {};
  return r;
}

/// The register state that the system saves (XCR0).
static uint64_t enabledState() {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

/// Asks Linux for the tile registers, which it grants per process.
static bool permitTiles() {
#if defined(__linux__)
  constexpr long requestPermission = 0x1023, tileData = 18;
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
#else
  return false;
#endif
}

uint64_t marver::hostCpuFeatures(uint64_t asked) {
  auto has = [](unsigned word, int bit) { return (word >> bit & 1) != 0; };
  Registers one = cpuid(1, 0), seven = cpuid(7, 0), more = cpuid(7, 1),
            extended = cpuid(0x80000001, 0);
  if (!has(one.ecx, 27)) // OSXSAVE
    return 0;
  uint64_t state = enabledState();
  constexpr uint64_t ymm = 0x6, zmm = 0xe6, tiles = 0x60000;

  uint64_t features = 0;
  auto add = [&](bool present, uint64_t feature) {
    if (present)
      features |= feature;
  };
  bool v3 = (state & ymm) == ymm && has(one.ecx, 12) /* fma */ &&
            has(one.ecx, 22) /* movbe */ && has(one.ecx, 28) /* avx */ &&
            has(one.ecx, 29) /* f16c */ && has(one.ecx, 23) /* popcnt */ &&
            has(seven.ebx, 3) /* bmi1 */ && has(seven.ebx, 5) /* avx2 */ &&
            has(seven.ebx, 8) /* bmi2 */ && has(extended.ecx, 5) /* lzcnt */;
  add(v3, MV_X86_V3);
  if (!v3)
    return features;
  add(has(more.eax, 4), MV_X86_AVX_VNNI);
  add(has(more.edx, 4), MV_X86_AVX_VNNI_INT8);
  add(has(seven.ecx, 8), MV_X86_GFNI);
  add(has(seven.ecx, 9), MV_X86_VAES);
  add(has(seven.ecx, 10), MV_X86_VPCLMULQDQ);
  if ((asked & (MV_X86_AMX_BF16 | MV_X86_AMX_INT8)) &&
      (state & tiles) == tiles && (has(seven.edx, 22) || has(seven.edx, 25)) &&
      permitTiles()) {
    add(has(seven.edx, 22), MV_X86_AMX_BF16);
    add(has(seven.edx, 25), MV_X86_AMX_INT8);
  }

  bool v4 = (state & zmm) == zmm && has(seven.ebx, 16) /* f */ &&
            has(seven.ebx, 17) /* dq */ && has(seven.ebx, 28) /* cd */ &&
            has(seven.ebx, 30) /* bw */ && has(seven.ebx, 31) /* vl */;
  add(v4, MV_X86_V4);
  if (!v4)
    return features;
  add(has(seven.ebx, 21), MV_X86_AVX512_IFMA);
  add(has(seven.ecx, 1), MV_X86_AVX512_VBMI);
  add(has(seven.ecx, 6), MV_X86_AVX512_VBMI2);
  add(has(seven.ecx, 11), MV_X86_AVX512_VNNI);
  add(has(seven.ecx, 12), MV_X86_AVX512_BITALG);
  add(has(seven.ecx, 14), MV_X86_AVX512_VPOPCNTDQ);
  add(has(seven.edx, 8), MV_X86_AVX512_VP2INTERSECT);
  add(has(seven.edx, 23), MV_X86_AVX512_FP16);
  add(has(more.eax, 5), MV_X86_AVX512_BF16);
  return features;
}

uint64_t marver::floatControl() {
  // Without the exception flags, which are state and not control.
  return _mm_getcsr() & ~0x3fu;
}

void marver::setFloatControl(uint64_t control) {
  _mm_setcsr(static_cast<unsigned>(control));
}

#elif defined(__aarch64__)

uint64_t marver::hostCpuFeatures(uint64_t) {
  uint64_t features = 0;
#if defined(__linux__)
  unsigned long low = getauxval(AT_HWCAP), high = getauxval(AT_HWCAP2);
  auto add = [&](bool present, uint64_t feature) {
    if (present)
      features |= feature;
  };
  add(low & 1ul << 20, MV_ARM_DOTPROD);
  add((low & 1ul << 9) && (low & 1ul << 10), MV_ARM_FP16);
  add(high & 1ul << 13, MV_ARM_I8MM);
  add(high & 1ul << 14, MV_ARM_BF16);
#elif defined(__APPLE__)
  auto add = [&](const char *name, uint64_t feature) {
    int value = 0;
    size_t size = sizeof(value);
    if (sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value)
      features |= feature;
  };
  add("hw.optional.arm.FEAT_DotProd", MV_ARM_DOTPROD);
  add("hw.optional.arm.FEAT_FP16", MV_ARM_FP16);
  add("hw.optional.arm.FEAT_I8MM", MV_ARM_I8MM);
  add("hw.optional.arm.FEAT_BF16", MV_ARM_BF16);
#endif
  return features;
}

uint64_t marver::floatControl() {
  uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  return control;
}

void marver::setFloatControl(uint64_t control) {
  __asm__ volatile("msr fpcr, %0" : : "r"(control));
}

#else

uint64_t marver::hostCpuFeatures(uint64_t) { return 0; }
uint64_t marver::floatControl() { return 0; }
void marver::setFloatControl(uint64_t) {}

#endif
