//===- KernelHarness.cpp - One kernel, from its text to its result --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"

#include "compiler/ir/MvDialect.h"
#include "compiler/kernels/Schedule.h"
#include "compiler/kernels/emit/KernelEmitter.h"
#include "compiler/kernels/emit/SlotLayout.h"
#include "compiler/native/Linker.h"
#include "compiler/native/Target.h"
#include "marver/abi.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/TargetParser/Host.h"
#include "gtest/gtest.h"
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;

namespace marver::testing {

//===----------------------------------------------------------------------===//
// Tensor
//===----------------------------------------------------------------------===//

Tensor::Tensor(std::vector<int64_t> shape) : sizes(std::move(shape)) {
  elements = std::accumulate(sizes.begin(), sizes.end(), int64_t(1),
                             std::multiplies<>());
  size_t page = sysconf(_SC_PAGESIZE);
  size_t payload = (elements * sizeof(float) + page - 1) / page * page;
  bytes = payload + page;
  memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *end = static_cast<char *>(memory) + payload;
  mprotect(end, page, PROT_NONE);
  values = reinterpret_cast<float *>(end) - elements;
}

Tensor &Tensor::operator=(Tensor &&other) noexcept {
  std::swap(sizes, other.sizes);
  std::swap(elements, other.elements);
  std::swap(values, other.values);
  std::swap(memory, other.memory);
  std::swap(bytes, other.bytes);
  return *this;
}

Tensor::~Tensor() {
  if (memory)
    munmap(memory, bytes);
}

float &Tensor::at(llvm::ArrayRef<int64_t> index) const {
  int64_t offset = 0;
  for (size_t d = 0; d < sizes.size(); ++d)
    offset = offset * sizes[d] + index[d];
  return values[offset];
}

void Tensor::fill(float value) const {
  std::fill(values, values + elements, value);
}

void Tensor::fillRandom(std::mt19937 &random) const {
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (int64_t i = 0; i < elements; ++i)
    values[i] = uniform(random);
}

//===----------------------------------------------------------------------===//
// Cases and CPUs
//===----------------------------------------------------------------------===//

static std::string shapeText(const KernelCase &kernel, int64_t operand,
                             bool isStatic) {
  const std::vector<int64_t> &shape = operand == int64_t(kernel.operands.size())
                                          ? kernel.result
                                          : kernel.operands[operand];
  std::string text;
  for (size_t d = 0; d < shape.size(); ++d) {
    bool unknown =
        !isStatic &&
        llvm::is_contained(kernel.dynamic, std::pair(operand, int64_t(d)));
    text += (unknown ? std::string("?") : std::to_string(shape[d])) + "x";
  }
  return text + "f32";
}

std::string KernelCase::type(int64_t operand) const {
  return "tensor<" + shapeText(*this, operand, false) + ">";
}

std::vector<std::string> runnableCpus() {
  std::vector<std::string> cpus = {"x86-64-v3"};
  if (llvm::sys::getHostCPUFeatures().lookup("avx512vl"))
    cpus.push_back("x86-64-v4");
  return cpus;
}

TargetInfo targetOf(llvm::StringRef cpu) {
  std::string error;
  std::optional<TargetInfo> target = selectTarget(cpu, error);
  EXPECT_TRUE(target) << error;
  return target.value_or(TargetInfo());
}

//===----------------------------------------------------------------------===//
// CompiledKernel
//===----------------------------------------------------------------------===//

CompiledKernel::CompiledKernel(const KernelCase &kernel, llvm::StringRef cpu) {
  build(kernel, cpu);
}

/// The choice for a kernel's only anchor, or for a convolution and the
/// depthwise one that follows it.
static std::optional<KernelChoice> chooseFor(mv::KernelOp kernel,
                                             const TargetInfo &target) {
  std::optional<KernelChoice> last, choice;
  mv::PackedConvOp conv;
  for (Operation &op : kernel.getBlock()) {
    choice = chooseKernel(&op, target);
    if (!choice)
      continue;
    auto depthwise = dyn_cast<mv::DepthwiseConvOp>(op);
    if (depthwise && conv) {
      std::string refusal;
      last = chooseConvDepthwise(
          conv, *last, depthwise.getInput().getDefiningOp<tensor::PadOp>(),
          depthwise, *choice, target, refusal, /*mustPay=*/false);
      EXPECT_TRUE(last) << refusal;
      return last;
    }
    conv = dyn_cast<mv::PackedConvOp>(op);
    last = choice;
  }
  return last;
}

void CompiledKernel::build(const KernelCase &kernel, llvm::StringRef cpu) {
  DialectRegistry registry;
  registry.insert<mv::MvDialect, cf::ControlFlowDialect, func::FuncDialect,
                  LLVM::LLVMDialect, scf::SCFDialect, vector::VectorDialect>();
  registerCodegenDialects(registry);
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  TargetInfo target = targetOf(cpu);
  if (kernel.l2Bytes)
    target.l2Bytes = kernel.l2Bytes;

  int64_t operands = kernel.operands.size();
  std::string source = "mv.kernel @k \"none\" {} buffers [";
  for (int64_t i = 0; i <= operands; ++i)
    source += (i ? ", " : "") + ("memref<" + shapeText(kernel, i, false)) + ">";
  source += "] {\n^bb0(";
  for (int64_t i = 0; i < operands; ++i)
    source += (i ? ", %" : "%") + std::to_string(i) + ": " + kernel.type(i);
  source += "):\n" + kernel.body +
            "\nmv.yield %result : " + kernel.type(operands) + "\n}\n";
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(source, &context);
  ASSERT_TRUE(module) << source;
  auto op = *module->getOps<mv::KernelOp>().begin();
  std::optional<KernelChoice> choice = chooseFor(op, target);
  ASSERT_TRUE(choice) << source;
  op.setFamily(choice->family);
  op.setScheduleAttr(choice->schedule);
  llvm::raw_string_ostream(scheduleText) << choice->schedule;
  const KernelFamily *family = findKernelFamily(choice->family);
  ASSERT_TRUE(family) << choice->family.str();

  // The launch knows all sizes, so the extent folds to a number.
  OwningOpRef<ModuleOp> host = ModuleOp::create(UnknownLoc::get(&context));
  OpBuilder builder(host->getBodyRegion());
  SmallVector<Type> types;
  for (int64_t i = 0; i <= operands; ++i)
    types.push_back(
        parseType("memref<" + shapeText(kernel, i, true) + ">", &context));
  auto hostFunction =
      func::FuncOp::create(builder, builder.getUnknownLoc(), "host",
                           builder.getFunctionType(types, {}));
  Block *block = hostFunction.addEntryBlock();
  builder.setInsertionPointToStart(block);
  ValueRange arguments = block->getArguments();
  OpFoldResult extent =
      family->extent(builder, builder.getUnknownLoc(), op,
                     arguments.drop_back(), arguments.take_back(), target);
  std::optional<int64_t> folded = getConstantIntValue(extent);
  ASSERT_TRUE(folded);
  count = *folded;
  scratch = Tensor({(family->scratchBytes(op, target) + 3) / 4});

  OwningOpRef<ModuleOp> emitted = ModuleOp::create(UnknownLoc::get(&context));
  {
    KernelEmitter emitter(op, *emitted, target);
    ASSERT_TRUE(succeeded(family->emit(emitter))) << source;
    emitter.finish();
  }
  ASSERT_TRUE(succeeded(verify(*emitted)));

  // Where each operand's address and dynamic sizes and strides go.
  SlotLayout layout(op);
  auto record = [&](const SlotLayout::Operand &operand,
                    const std::vector<int64_t> &shape) {
    std::vector<std::pair<int64_t, int64_t>> slots = {{operand.slot, 0}};
    int64_t stride = 1;
    for (int64_t d = shape.size(); d-- > 0;) {
      if (operand.sizeSlots[d] != SlotLayout::kStatic)
        slots.push_back({operand.sizeSlots[d], shape[d]});
      if (operand.strideSlots[d] != SlotLayout::kStatic)
        slots.push_back({operand.strideSlots[d], stride});
      stride *= shape[d];
    }
    slotsOf.push_back(slots);
  };
  for (int64_t i = 0; i < operands; ++i)
    record(layout.inputs[i], kernel.operands[i]);
  record(layout.outs[0], kernel.result);

  SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("kernel", folder));
  CodegenOptions options;
  options.target = target;
  options.dumpFolder = folder.str().str();
  LoweringPool pool(emitted->getContext());
  auto object = compileToObject(*emitted, "k", options, pool);
  SmallString<128> file(folder);
  llvm::sys::path::append(file, "k.s");
  if (auto buffer = llvm::MemoryBuffer::getFile(file))
    text = (*buffer)->getBuffer().str();
  EXPECT_FALSE(llvm::sys::fs::remove_directories(folder));
  ASSERT_TRUE(succeeded(object));
  SmallVector<NativeObject> objects;
  objects.push_back(std::move(*object));
  auto image = linkImage(objects, options);
  ASSERT_TRUE(bool(image)) << toString(image.takeError());
  bytes = image->bytes.size();
  memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::memcpy(memory, image->bytes.data(), bytes);
  mprotect(memory, bytes, PROT_READ | PROT_EXEC);
  ASSERT_TRUE(image->symbols.contains("k"));
  function = reinterpret_cast<mv_kernel_fn>(static_cast<char *>(memory) +
                                            image->symbols["k"]);
}

CompiledKernel::~CompiledKernel() {
  if (memory)
    munmap(memory, bytes);
}

void CompiledKernel::run(llvm::ArrayRef<const Tensor *> operands,
                         const Tensor &result,
                         llvm::ArrayRef<int64_t> cuts) const {
  mv_call call = {};
  SmallVector<int64_t> slots(64, 0x5555555555555555);
  slots[0] = reinterpret_cast<int64_t>(&call);
  for (auto [number, list] : llvm::enumerate(slotsOf)) {
    const Tensor &tensor =
        number < operands.size() ? *operands[number] : result;
    slots[list.front().first] = reinterpret_cast<int64_t>(tensor.data());
    for (auto [slot, value] : llvm::drop_begin(list))
      slots[slot] = value;
  }
  int64_t begin = 0;
  for (int64_t cut : cuts) {
    function(slots.data(), begin, cut, scratch.data());
    begin = cut;
  }
  function(slots.data(), begin, count, scratch.data());
  EXPECT_EQ(call.status, 0);
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

void expectResult(const KernelCase &kernel, llvm::StringRef cpu,
                  llvm::ArrayRef<const Tensor *> operands,
                  const std::vector<double> &reference, double tolerance,
                  std::mt19937 &random) {
  CompiledKernel compiled(kernel, cpu);
  ASSERT_TRUE(compiled) << kernel.body;
  std::string what = cpu.str() + " " + compiled.schedule() + "\n" +
                     kernel.body + "\nresult " +
                     kernel.type(kernel.operands.size());
  SCOPED_TRACE(what);
  Tensor whole(kernel.result), cut(kernel.result);
  whole.fill(NAN);
  cut.fill(NAN);
  compiled.run(operands, whole);
  std::vector<int64_t> cuts(3);
  for (int64_t &at : cuts)
    at = random() % (compiled.extent() + 1);
  std::sort(cuts.begin(), cuts.end());
  compiled.run(operands, cut, cuts);

  ASSERT_EQ(int64_t(reference.size()), whole.size());
  double largest = 0;
  for (double value : reference)
    if (std::isfinite(value) && value != kAny)
      largest = std::max(largest, std::abs(value));
  int64_t wrong = 0;
  for (int64_t i = 0; i < whole.size(); ++i) {
    double expected = reference[i], actual = whole[i];
    if (expected == kAny)
      continue;
    bool same =
        std::isfinite(expected)
            ? std::abs(expected - actual) <= tolerance * largest
            : (std::isnan(expected) ? std::isnan(actual) : expected == actual);
    if (!same && wrong++ < 3)
      ADD_FAILURE() << "element " << i << " of " << whole.size() << ": "
                    << actual << ", expected " << expected;
    if (std::bit_cast<uint32_t>(whole[i]) != std::bit_cast<uint32_t>(cut[i]) &&
        wrong++ < 3)
      ADD_FAILURE() << "element " << i << " depends on the split";
  }
  EXPECT_EQ(wrong, 0);
}

static bool isFusedMultiplyAdd(llvm::StringRef instruction) {
  return instruction.starts_with("vfmadd") || instruction.starts_with("fmla");
}

static bool isVectorOnStack(llvm::StringRef instruction) {
  auto [name, operands] = instruction.split('\t');
  if (operands.contains("(%rsp"))
    return operands.contains("%zmm") || operands.contains("%ymm");
  return operands.contains("[sp") && operands.starts_with("q");
}

std::vector<std::string> spillsInInnerLoops(llvm::StringRef assembly) {
  // A loop is what lies between a label and a later jump back to it; an
  // innermost one has no other label inside.
  llvm::SmallVector<llvm::StringRef> lines;
  assembly.split(lines, '\n');
  std::vector<std::string> spills;
  llvm::StringRef label;
  llvm::SmallVector<llvm::StringRef> body;
  for (llvm::StringRef line : lines) {
    llvm::StringRef text = line.trim();
    if (text.starts_with(".LBB") && text.contains(':')) {
      label = text.take_until([](char c) { return c == ':'; });
      body.clear();
      continue;
    }
    body.push_back(text);
    // x86's jumps, AArch64's b.cond, cbz, tbz and the like.
    bool isJump = text.starts_with("j") || text.starts_with("b") ||
                  text.starts_with("cb") || text.starts_with("tb");
    if (label.empty() || !isJump || !text.ends_with(label))
      continue;
    if (llvm::any_of(body, isFusedMultiplyAdd))
      for (llvm::StringRef instruction : body)
        if (isVectorOnStack(instruction))
          spills.push_back(instruction.str());
    label = "";
  }
  return spills;
}

} // namespace marver::testing
