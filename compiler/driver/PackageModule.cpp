//===- PackageModule.cpp - The package stage ------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/driver/PackageModule.h"

#include "compiler/driver/Locations.h"
#include "compiler/ir/Constants.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/ir/PackedWeights.h"
#include "compiler/ir/States.h"
#include "compiler/native/HostLowering.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace marver {
namespace {

/// Number of an element type in an interface, or 0.
uint8_t dtypeOf(Type type, bool isUnsigned) {
  if (type.isF16())
    return MV_DTYPE_F16;
  if (type.isBF16())
    return MV_DTYPE_BF16;
  if (type.isF32())
    return MV_DTYPE_F32;
  if (type.isF64())
    return MV_DTYPE_F64;
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return 0;
  switch (integer.getWidth()) {
  case 1:
    return MV_DTYPE_I1;
  case 8:
    return isUnsigned ? MV_DTYPE_U8 : MV_DTYPE_I8;
  case 16:
    return isUnsigned ? MV_DTYPE_U16 : MV_DTYPE_I16;
  case 32:
    return isUnsigned ? MV_DTYPE_U32 : MV_DTYPE_I32;
  case 64:
    return isUnsigned ? MV_DTYPE_U64 : MV_DTYPE_I64;
  default:
    return 0;
  }
}

/// A dim as the interface tells it: static, a symbol, or computed.
int64_t dimOf(int64_t size, Attribute expression) {
  if (!ShapedType::isDynamic(size))
    return size;
  if (auto map = dyn_cast_or_null<AffineMapAttr>(expression))
    if (map.getValue().getNumResults() == 1)
      if (auto symbol = dyn_cast<AffineSymbolExpr>(map.getValue().getResult(0)))
        return MV_DIM_SYMBOL(symbol.getPosition());
  return MV_DIM_COMPUTED;
}

LogicalResult describeTensors(func::FuncOp entry, StringRef attribute,
                              std::vector<TensorSpec> &tensors,
                              std::vector<std::string> &names) {
  auto list = entry->getAttrOfType<ArrayAttr>(attribute);
  if (!list)
    return success();
  for (auto tensor : list.getAsRange<DictionaryAttr>()) {
    auto type =
        cast<RankedTensorType>(tensor.getAs<TypeAttr>("type").getValue());
    TensorSpec spec;
    spec.dtype = dtypeOf(type.getElementType(), tensor.contains("mv.unsigned"));
    if (!spec.dtype)
      return entry.emitOpError("has an input or output of element type ")
             << type.getElementType() << ", which modules do not know";
    auto dims = tensor.getAs<ArrayAttr>("mv.dims");
    bool hasDims = dims && dims.size() == static_cast<size_t>(type.getRank());
    bool isLate = tensor.contains("mv.data_dependent");
    for (auto [position, size] : llvm::enumerate(type.getShape()))
      spec.dims.push_back(
          isLate && ShapedType::isDynamic(size)
              ? MV_DIM_DATA_DEPENDENT
              : dimOf(size, hasDims ? dims[position] : Attribute()));
    tensors.push_back(std::move(spec));
    auto name = tensor.getAs<StringAttr>("mv.name");
    names.push_back(name ? name.str() : "");
  }
  return success();
}

/// Entry points share a state if all that can be told apart is the same: its
/// name, its type and its first value.
class StateTable {
public:
  explicit StateTable(ModuleOp module) : constants(module) {}

  LogicalResult describe(func::FuncOp entry, Interface &interface) {
    std::vector<TensorSpec> types;
    std::vector<std::string> names;
    if (failed(describeTensors(entry, "mv.states", types, names)))
      return failure();
    auto list = entry->getAttrOfType<ArrayAttr>("mv.states");
    for (auto [i, type] : llvm::enumerate(types)) {
      auto words = cast<DictionaryAttr>(list[i]);
      StateSpec &state = interface.states.emplace_back();
      state.type = std::move(type);
      auto initial = words.getAs<IntegerAttr>(kInitialAttr);
      if (initial)
        state.initial = constants.offsets[initial.getInt()];
      Attribute identity = ArrayAttr::get(
          entry.getContext(),
          {words.get(kStateAttr), words.get("type"),
           initial ? Attribute(initial) : UnitAttr::get(entry.getContext()),
           BoolAttr::get(entry.getContext(), words.contains("mv.unsigned"))});
      state.number =
          numbers.try_emplace(identity, numbers.size()).first->second;
    }
    return success();
  }

private:
  ConstantLayout constants;
  DenseMap<Attribute, uint32_t> numbers;
};

LogicalResult describeEntry(func::FuncOp entry, const NativeModule::Entry &code,
                            StateTable &states, PackagedModule &result) {
  EntryPoint point;
  point.name = entry.getSymName().str();
  point.runOffset = code.run;
  point.shapeOffset = code.shape;
  point.scratchBytes = code.scratchBytes;
  EntryDescription words;
  words.name = point.name;
  if (auto bound = entry->getAttrOfType<IntegerAttr>("mv.arena_bound"))
    words.arenaBound = bound.getInt();
  if (failed(describeTensors(entry, "mv.inputs", point.interface.inputs,
                             words.inputs)) ||
      failed(describeTensors(entry, "mv.outputs", point.interface.outputs,
                             words.outputs)) ||
      failed(states.describe(entry, point.interface)))
    return failure();
  if (auto symbols = entry->getAttrOfType<ArrayAttr>("mv.symbols"))
    for (auto symbol : symbols.getAsRange<DictionaryAttr>()) {
      auto bound = [&](StringRef name, int64_t otherwise) {
        auto value = symbol.getAs<IntegerAttr>(name);
        return value ? value.getInt() : otherwise;
      };
      point.interface.symbols.emplace_back(bound("min", 0),
                                           bound("max", INT64_MAX));
      auto name = symbol.getAs<StringAttr>("name");
      words.symbols.push_back(name ? name.str() : "");
    }
  auto inputs = entry->getAttrOfType<ArrayAttr>("mv.inputs");
  for (auto [number, input] : llvm::enumerate(inputs))
    if (auto alias = cast<DictionaryAttr>(input).getAs<IntegerAttr>("mv.alias"))
      point.interface.mayAlias.emplace_back(number, alias.getInt());
  result.contents.entries.push_back(std::move(point));
  result.sidecar.entries.push_back(std::move(words));
  return success();
}

/// `1x3x224x224xf32, 32x3x3x3xf32 -> 1x32x112x112xf32`
std::string describeShapes(mv::LaunchOp launch) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  auto print = [&](ValueRange values) {
    llvm::interleaveComma(values, stream, [&](Value value) {
      auto type = dyn_cast<MemRefType>(value.getType());
      if (!type) {
        stream << value.getType();
        return;
      }
      for (int64_t size : type.getShape())
        ShapedType::isDynamic(size) ? stream << "?x" : stream << size << "x";
      stream << type.getElementType();
    });
  };
  print(launch.getInputs());
  stream << " -> ";
  print(launch.getOuts());
  return text;
}

std::string describeSchedule(mv::KernelOp kernel) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::interleaveComma(kernel.getSchedule(), stream,
                        [&](NamedAttribute attribute) {
                          stream << attribute.getName().getValue() << "=";
                          attribute.getValue().print(stream, true);
                        });
  return text;
}

/// Why the kernel is what it is, in words; of a chain, of its parts as well.
std::string describeReason(DictionaryAttr schedule) {
  std::string text;
  auto add = [&](const llvm::Twine &part) {
    text += (text.empty() ? "" : "\n") + part.str();
  };
  for (StringRef key : {"reason", "refused"})
    if (auto reason = schedule.getAs<StringAttr>(key))
      add(reason.getValue());
  for (NamedAttribute attribute : schedule)
    if (auto part = dyn_cast<DictionaryAttr>(attribute.getValue()))
      add(attribute.getName().getValue() + ": " + describeReason(part));
  return text;
}

/// Bytes that a launch has to move at least: each operand once.
int64_t bytesOf(mv::LaunchOp launch) {
  int64_t bytes = 0;
  for (ValueRange values :
       {ValueRange(launch.getInputs()), ValueRange(launch.getOuts())})
    for (Value value : values) {
      auto type = dyn_cast<MemRefType>(value.getType());
      if (!type)
        continue;
      if (!type.hasStaticShape())
        return -1;
      bytes += type.getNumElements() * elementBytes(type.getElementType());
    }
  return bytes;
}

/// Arithmetic of the contractions in a kernel's region: twice the products.
/// Operations of other kinds count one per result element and body operation.
int64_t flopsOf(mv::KernelOp kernel) {
  int64_t flops = 0;
  auto elements = [](Value value) -> int64_t {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.hasStaticShape() ? type.getNumElements() : -1;
  };
  for (Operation &op : kernel.getBlock()) {
    if (op.getNumResults() == 0)
      continue;
    int64_t results = elements(op.getResult(0));
    auto add = [&](int64_t each) {
      flops =
          flops < 0 || results < 0 || each < 0 ? -1 : flops + results * each;
    };
    auto taps = [&](Value filter, int64_t first) -> int64_t {
      auto type = cast<RankedTensorType>(filter.getType());
      int64_t product = 1;
      for (int64_t d = first; d < type.getRank() - 1; ++d)
        product *= type.getDimSize(d);
      return product;
    };
    TypeSwitch<Operation *>(&op)
        .Case([&](mv::PackedConvOp conv) { // panel x taps x c x NR
          add(2 * taps(conv.getFilter(), 1) /
              (reductionGroup(conv) > 1 ? panelWidth(conv) : 1) *
              reductionGroup(conv));
        })
        .Case([&](mv::WinogradConvOp conv) { // as the definition does it
          int64_t window = conv.getWindow();
          add(2 * int64_t(conv.getInChannels()) *
              (conv.getSpatialRank() == 2 ? window * window : window));
        })
        .Case([&](mv::DepthwiseConvOp conv) { // blocks x taps x B
          add(2 * taps(conv.getFilter(), 1));
        })
        .Case<mv::PackedMatmulOp, mv::MatmulOp>([&](auto matmul) {
          auto type = cast<RankedTensorType>(matmul.getLhs().getType());
          int64_t k = type.getShape().back();
          add(ShapedType::isDynamic(k) ? -1 : 2 * k);
        })
        .Case([&](mv::AttentionOp attention) {
          auto key = cast<RankedTensorType>(attention.getKey().getType());
          auto value = cast<RankedTensorType>(attention.getValue().getType());
          int64_t s = key.getDimSize(key.getRank() - 2);
          int64_t d = key.getShape().back(), e = value.getShape().back();
          if (ShapedType::isDynamic(s) || ShapedType::isDynamic(d) ||
              ShapedType::isDynamic(e) || e == 0)
            return add(-1);
          // Per element of the result: its share of the scores, then its sum.
          add(2 * s + 2 * s * d / e);
        })
        .Case([&](linalg::GenericOp generic) {
          int64_t body = llvm::range_size(*generic.getBody()) - 1;
          if (generic.getNumReductionLoops() == 0)
            return add(body);
          results =
              elements(generic.getInputs().empty() ? generic.getResult(0)
                                                   : generic.getInputs()[0]);
          add(body);
        });
  }
  return flops;
}

void describeLaunches(ModuleOp module, PackagedModule &result) {
  SymbolTable symbols(module);
  for (func::FuncOp entry : getEntryPoints(module))
    entry.walk([&](mv::LaunchOp launch) {
      auto kernel = symbols.lookup<mv::KernelOp>(launch.getKernel());
      SourcePlace place = describeLocation(launch.getLoc());
      KernelDescription words;
      words.name = kernel.getSymName().str();
      words.family = kernel.getFamily().str();
      words.operation = place.name;
      words.location = place.file;
      words.shapes = describeShapes(launch);
      words.schedule = describeSchedule(kernel);
      words.reason = describeReason(kernel.getSchedule());
      words.flops = flopsOf(kernel);
      words.bytes = bytesOf(launch);
      result.sidecar.kernels.push_back(std::move(words));
    });
  result.contents.kernelCount = result.sidecar.kernels.size();
}

void describePlaces(ModuleOp module, PackagedModule &result) {
  auto &places = result.sidecar.places;
  places.push_back({"", ""}); // of what no operation caused: a cancelled run
  module.walk([&](Operation *op) {
    auto number = op->getAttrOfType<IntegerAttr>("mv.place");
    if (!number)
      return;
    if (places.size() <= static_cast<size_t>(number.getInt()))
      places.resize(number.getInt() + 1);
    PlaceDescription &place = places[number.getInt()];
    SourcePlace source = describeLocation(op->getLoc());
    place.location = source.file;
    if (auto check = dyn_cast<mv::CheckOp>(op))
      place.text = check.getMessage().str();
    else
      place.text = source.name.empty() ? op->getName().getStringRef().str()
                                       : source.name;
  });
  result.contents.placeCount = places.size();
}

LogicalResult layOutConstants(ModuleOp module, PackagedModule &result) {
  ConstantLayout layout(module);
  auto constants = module->getAttrOfType<ArrayAttr>("mv.constants");
  for (auto [number, offset] : llvm::enumerate(layout.offsets)) {
    std::optional<ConstantData> data = getConstantData(constants[number]);
    if (!data)
      return module.emitError("constant ") << number << " cannot be read";
    ArrayRef<char> bytes = data->bytes;
    if (data->isSplat || data->storage) {
      auto &expanded = result.expandedConstants.emplace_back(
          elementCount(data->type) * elementBytes(data->type.getElementType()));
      data->copyTo(expanded);
      bytes = expanded;
    }
    if (bytes.empty())
      continue;
    result.contents.constants.push_back(
        {offset, reinterpret_cast<const uint8_t *>(bytes.data()),
         bytes.size()});
  }
  result.contents.constantsSize = layout.bytes;
  return success();
}

} // namespace

FailureOr<PackagedModule> packageModule(ModuleOp module, NativeModule native,
                                        const TargetInfo &target) {
  PackagedModule result;
  result.contents.arch = target.arch;
  result.contents.cpuFeatures = target.cpuFeatures;
  result.contents.code = std::move(native.image.bytes);
  result.contents.textBytes = native.image.textBytes;
  if (native.prepare) {
    result.contents.prepareOffset = native.prepare->code;
    result.contents.preparedBytes = native.prepare->bytes;
    result.contents.prepareScratchBytes = native.prepare->scratchBytes;
  }
  StateTable states(module);
  for (auto [entry, code] :
       llvm::zip_equal(getEntryPoints(module), native.entries))
    if (failed(describeEntry(entry, code, states, result)))
      return failure();
  describeLaunches(module, result);
  describePlaces(module, result);
  if (failed(layOutConstants(module, result)))
    return failure();
  return result;
}

} // namespace marver
