//===- Code.cpp - Code that only computes ---------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Code.h"

#include "Chance.h"
#include "marver/abi.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/MC/MCAsmInfo.h"
#include "llvm/MC/MCContext.h"
#include "llvm/MC/MCDisassembler/MCDisassembler.h"
#include "llvm/MC/MCInst.h"
#include "llvm/MC/MCInstrAnalysis.h"
#include "llvm/MC/MCInstrDesc.h"
#include "llvm/MC/MCInstrInfo.h"
#include "llvm/MC/MCRegisterInfo.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/MCTargetOptions.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Triple.h"

using namespace llvm;

namespace marver::audit {
namespace {

// Beginnings of LLVM's names of instructions that no computation has: input and
// output, system calls, privileged ones, debugging.
constexpr StringLiteral kX86Forbidden[] = {
    "INS",     "OUTS",    "IN8",      "IN16",    "IN32",   "OUT8",  "OUT16",
    "OUT32",   "SYSCALL", "SYSENTER", "SYSEXIT", "SYSRET", "INT",   "IRET",
    "HLT",     "CLI",     "STI",      "LGDT",    "LIDT",   "LLDT",  "LTR",
    "WRMSR",   "RDMSR",   "WBINVD",   "INVD",    "INVLPG", "LRET",  "FARCALL",
    "FARJMP",  "XLAT",    "ENTER",    "LOOP",    "JRCXZ",  "JECXZ", "ARPL",
    "PUSH64i", "PUSH16",  "PUSHF",    "POPF",    "CMPSB",  "CMPSW", "CMPSL",
    "CMPSQ",   "SCAS",    "LODS",     "VMCALL",  "VMRUN",  "RDTSC", "CPUID",
    "MOV64sr", "MOV64rs"};
constexpr StringLiteral kArmForbidden[] = {"SVC", "HVC",  "SMC", "HLT",
                                           "MSR", "ERET", "DCPS"};

/// INS also starts INSERTPS, LOOP nothing else; what is meant and what is not.
bool isForbidden(uint16_t arch, StringRef name) {
  if (arch == MV_ARCH_AARCH64)
    return any_of(kArmForbidden,
                  [&](StringRef start) { return name.starts_with(start); });
  if (name.starts_with("INSERT") || name == "INT3")
    return false;
  return any_of(kX86Forbidden,
                [&](StringRef start) { return name.starts_with(start); });
}

} // namespace

Error checkCode(uint16_t arch, ArrayRef<uint8_t> text,
                ArrayRef<uint64_t> entries,
                function_ref<void(size_t, size_t, std::string)> found) {
  std::string triple;
  if (arch == MV_ARCH_X86_64) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86Disassembler();
    triple = "x86_64-unknown-linux-gnu";
  } else if (arch == MV_ARCH_AARCH64) {
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64Disassembler();
    triple = "aarch64-unknown-linux-gnu";
  } else {
    return createStringError(inconvertibleErrorCode(),
                             "code of an unknown architecture");
  }
  std::string message;
  Triple tripleOf(triple);
  const Target *target = TargetRegistry::lookupTarget(tripleOf, message);
  if (!target)
    return createStringError(inconvertibleErrorCode(), message);
  std::unique_ptr<MCRegisterInfo> registers(target->createMCRegInfo(tripleOf));
  std::unique_ptr<MCAsmInfo> assembly(
      target->createMCAsmInfo(*registers, tripleOf, MCTargetOptions()));
  std::unique_ptr<MCInstrInfo> instructions(target->createMCInstrInfo());
  // Every extension: the question is not which CPU this is for.
  std::unique_ptr<MCSubtargetInfo> subtarget(target->createMCSubtargetInfo(
      tripleOf, "", arch == MV_ARCH_AARCH64 ? "+all" : ""));
  MCContext context(tripleOf, assembly.get(), registers.get(), subtarget.get());
  std::unique_ptr<MCDisassembler> disassembler(
      target->createMCDisassembler(*subtarget, context));
  std::unique_ptr<MCInstrAnalysis> analysis(
      target->createMCInstrAnalysis(instructions.get()));

  std::vector<bool> starts(text.size() + 1);
  std::vector<std::pair<uint64_t, uint64_t>> branches; // (from, to)
  size_t position = 0;
  while (position < text.size()) {
    MCInst instruction;
    uint64_t size = 0;
    auto status = disassembler->getInstruction(
        instruction, size, text.drop_front(position), position, nulls());
    if (status != MCDisassembler::Success) {
      size_t end = position + std::max<uint64_t>(size, 1);
      found(position, end - position, "bytes that are no instruction");
      position = end;
      continue;
    }
    starts[position] = true;
    StringRef name = instructions->getName(instruction.getOpcode());
    if (isForbidden(arch, name))
      found(position, size,
            ("instruction " + name + ", which no kernel needs").str());
    for (const MCOperand &operand : instruction)
      if (operand.isReg() && operand.getReg()) {
        StringRef registerName = registers->getName(operand.getReg());
        if (registerName == "FS" || registerName == "GS")
          found(position, size, "memory of a thread or segment");
      }
    uint64_t destination;
    const MCInstrDesc &description = instructions->get(instruction.getOpcode());
    if ((description.isBranch() || description.isCall()) && analysis &&
        analysis->evaluateBranch(instruction, position, size, destination))
      branches.emplace_back(position, destination);
    position += size;
  }
  for (auto [from, to] : branches)
    if (to >= text.size() || !starts[to])
      found(from, 1, "branch to what is no instruction");
  for (uint64_t entry : entries)
    if (entry >= text.size() || !starts[entry])
      found(std::min<uint64_t>(entry, text.size()), 1,
            "a function that does not start with an instruction");
  return Error::success();
}

} // namespace marver::audit
