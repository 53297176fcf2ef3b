//===- Tensors.cpp - Constant tensors of an ONNX model --------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Tensors.h"
#include "compiler/ir/Constants.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace marver;
using namespace marver::onnx;

std::optional<std::pair<mlir::Type, bool>>
marver::onnx::elementType(MLIRContext *context, DataType type) {
  auto integer = [&](unsigned width, bool isUnsigned) {
    return std::pair<mlir::Type, bool>(IntegerType::get(context, width),
                                       isUnsigned);
  };
  switch (type) {
  case DataType::Float:
    return {{Float32Type::get(context), false}};
  case DataType::Double:
    return {{Float64Type::get(context), false}};
  case DataType::Float16:
    return {{Float16Type::get(context), false}};
  case DataType::Bfloat16:
    return {{BFloat16Type::get(context), false}};
  case DataType::Bool:
    return integer(1, false);
  case DataType::Int8:
    return integer(8, false);
  case DataType::Int16:
    return integer(16, false);
  case DataType::Int32:
    return integer(32, false);
  case DataType::Int64:
    return integer(64, false);
  case DataType::Uint8:
    return integer(8, true);
  case DataType::Uint16:
    return integer(16, true);
  case DataType::Uint32:
    return integer(32, true);
  case DataType::Uint64:
    return integer(64, true);
  default:
    return std::nullopt;
  }
}

std::string marver::onnx::nameOf(DataType type) {
  // In the order of TensorProto.DataType.
  static const char *const names[] = {
      "UNDEFINED",      "FLOAT",        "UINT8",          "INT8",
      "UINT16",         "INT16",        "INT32",          "INT64",
      "STRING",         "BOOL",         "FLOAT16",        "DOUBLE",
      "UINT32",         "UINT64",       "COMPLEX64",      "COMPLEX128",
      "BFLOAT16",       "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2",
      "FLOAT8E5M2FNUZ", "UINT4",        "INT4",           "FLOAT4E2M1"};
  auto number = static_cast<uint32_t>(type);
  return number < std::size(names) ? names[number]
                                   : "number " + std::to_string(int32_t(type));
}

std::shared_ptr<llvm::MemoryBuffer>
TensorReader::openExternal(StringRef location, std::string &error) {
  auto known = files.find(location);
  if (known != files.end())
    return known->second;
  auto refuse = [&](const Twine &why) -> std::shared_ptr<llvm::MemoryBuffer> {
    error =
        ("its external data '" + Twine(printable(location)) + "' " + why).str();
    return nullptr;
  };
  // Only files inside the model's own folder, links followed.
  if (request.path == "-" || request.path == "<stdin>")
    return refuse("cannot be found: the model comes from standard input");
  if (location.empty() || location.contains('\0') ||
      llvm::sys::path::is_absolute(location))
    return refuse("is not a path inside the model's folder");
  SmallString<256> folder = llvm::sys::path::parent_path(request.path), path,
                   root;
  if (folder.empty())
    folder = ".";
  path = folder;
  llvm::sys::path::append(path, location);
  SmallString<256> real;
  if (llvm::sys::fs::real_path(folder, root) ||
      llvm::sys::fs::real_path(path, real))
    return refuse("does not exist beside the model");
  StringRef rest = real;
  if (!rest.consume_front(root) || !(rest.starts_with("/") || root == "/"))
    return refuse("is not a path inside the model's folder");
  if (!llvm::sys::fs::is_regular_file(real))
    return refuse("is not a file");
  auto buffer = llvm::MemoryBuffer::getFile(real, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return refuse("cannot be read: " + buffer.getError().message());
  std::shared_ptr<llvm::MemoryBuffer> shared = std::move(*buffer);
  files[location] = shared;
  return shared;
}

bool TensorReader::findExternal(const Tensor &tensor, int64_t size,
                                StringRef &bytes, std::shared_ptr<void> &owner,
                                std::string &error) {
  StringRef location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
  for (const Entry &entry : tensor.external) {
    uint64_t number = 0;
    bool isNumber = entry.key == "offset" || entry.key == "length";
    if (isNumber && entry.value.getAsInteger(10, number)) {
      error = ("its external data has the " + entry.key + " '" +
               printable(entry.value) + "'")
                  .str();
      return false;
    }
    if (entry.key == "location")
      location = entry.value;
    else if (entry.key == "offset")
      offset = number;
    else if (entry.key == "length")
      length = number;
  }
  auto file = openExternal(location, error);
  if (!file)
    return false;
  if (length && *length != uint64_t(size)) {
    error = ("its external data has " + Twine(*length) +
             " bytes, its type needs " + Twine(size))
                .str();
    return false;
  }
  if (offset > file->getBufferSize() ||
      uint64_t(size) > file->getBufferSize() - offset) {
    error = ("its external data '" + printable(location) +
             "' ends before byte " + Twine(offset) + " + " + Twine(size))
                .str();
    return false;
  }
  bytes = file->getBuffer().substr(offset, size);
  owner = file;
  return true;
}

ElementsAttr TensorReader::read(const Tensor &tensor, std::string &error) {
  auto element = elementType(context, tensor.type);
  if (!element) {
    error = "element type " + nameOf(tensor.type) + " is not supported";
    return nullptr;
  }
  int64_t width = elementBytes(element->first), size = width;
  for (int64_t dim : tensor.dims) {
    if (dim < 0 || llvm::MulOverflow(size, dim, size)) {
      error = "its dims make no sense";
      return nullptr;
    }
  }
  if (tensor.constant)
    return cast<ElementsAttr>(tensor.constant);
  int64_t count = size / width;
  auto type = RankedTensorType::get(tensor.dims, element->first);
  if (tensor.raw || tensor.isExternal) {
    StringRef bytes;
    std::shared_ptr<void> owner = request.data;
    if (tensor.isExternal) {
      if (!findExternal(tensor, size, bytes, owner, error))
        return nullptr;
    } else {
      bytes = *tensor.raw;
    }
    if (int64_t(bytes.size()) != size) {
      error = ("it has " + Twine(bytes.size()) + " bytes, its type needs " +
               Twine(size))
                  .str();
      return nullptr;
    }
    if (!type.getElementType().isInteger(1))
      return makeMappedConstant(
          type, ArrayRef<char>(bytes.data(), bytes.size()), owner);
    return makeConstant(type, [&](MutableArrayRef<char> out) {
      for (auto [to, from] : llvm::zip(out, bytes))
        to = from != 0;
    });
  }

  // Elements in one of the typed lists; small floats are bits in an int32.
  size_t held = 0;
  switch (tensor.type) {
  case DataType::Float:
    held = tensor.floats.size();
    break;
  case DataType::Double:
    held = tensor.doubles.size();
    break;
  case DataType::Int64:
    held = tensor.ints64.size();
    break;
  case DataType::Uint32:
  case DataType::Uint64:
    held = tensor.uints64.size();
    break;
  default:
    held = tensor.ints32.size();
    break;
  }
  if (int64_t(held) != count) {
    error =
        ("it has " + Twine(held) + " elements, its type needs " + Twine(count))
            .str();
    return nullptr;
  }
  return makeConstant(type, [&](MutableArrayRef<char> out) {
    for (int64_t i = 0; i < count; ++i) {
      char *at = out.data() + i * width;
      switch (tensor.type) {
      case DataType::Float:
        storeFloat(at, type.getElementType(), tensor.floats[i]);
        break;
      case DataType::Double:
        storeFloat(at, type.getElementType(), tensor.doubles[i]);
        break;
      case DataType::Float16:
      case DataType::Bfloat16:
        storeInt(at, IntegerType::get(context, 16), tensor.ints32[i]);
        break;
      case DataType::Int64:
        storeInt(at, type.getElementType(), tensor.ints64[i]);
        break;
      case DataType::Uint32:
      case DataType::Uint64:
        storeInt(at, type.getElementType(), int64_t(tensor.uints64[i]));
        break;
      case DataType::Bool:
        storeInt(at, type.getElementType(), tensor.ints32[i] != 0);
        break;
      default:
        storeInt(at, type.getElementType(), tensor.ints32[i]);
        break;
      }
    }
  });
}
