//===- Reader.cpp - Reads ONNX's protobuf messages ------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The wire format is read with protozero, which throws on malformed input: this
// is the one file that is built with exceptions, and none leaves it. A field of
// an unexpected wire type is skipped, as protobuf's own parsers do.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/onnx/Model.h"
#include <protozero/pbf_reader.hpp>
#include <stdexcept>

using namespace marver::onnx;
using llvm::StringRef;
using protozero::pbf_reader;
using protozero::pbf_wire_type;

namespace {

constexpr auto varint = pbf_wire_type::varint;
constexpr auto bytes = pbf_wire_type::length_delimited;
constexpr auto fixed32 = pbf_wire_type::fixed32;
constexpr auto fixed64 = pbf_wire_type::fixed64;

constexpr uint32_t field(uint32_t tag, pbf_wire_type type) {
  return protozero::tag_and_type(tag, type);
}

StringRef text(pbf_reader &reader) {
  auto view = reader.get_view();
  return {view.data(), view.size()};
}

class Reader {
public:
  Model readModel(pbf_reader reader);

private:
  /// Graphs inside attributes, and types of types, this deep at most.
  static constexpr int depthLimit = 32;
  /// Messages that this file makes objects of: a few bytes of input each could
  /// otherwise take a few hundred bytes of memory each.
  static constexpr int64_t messageLimit = 4'000'000;

  void count() {
    if (++messages > messageLimit)
      throw std::length_error("it has more than 4 million nodes, tensors, "
                              "attributes and names");
  }

  Graph readGraph(pbf_reader reader);
  Node readNode(pbf_reader reader);
  Attribute readAttribute(pbf_reader reader);
  Tensor readTensor(pbf_reader reader);
  ValueInfo readValueInfo(pbf_reader reader);
  Type readType(pbf_reader reader);
  std::vector<TypeDim> readShape(pbf_reader reader);
  Function readFunction(pbf_reader reader);
  OperatorSet readOperatorSet(pbf_reader reader);
  Entry readEntry(pbf_reader reader);

  int depth = 0;
  int64_t messages = 0;
};

template <typename T, typename Range>
void append(std::vector<T> &list, Range &&range) {
  for (auto element : range)
    list.push_back(T(element));
}

Model Reader::readModel(pbf_reader reader) {
  Model model;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
    case field(1, varint):
      model.irVersion = reader.get_int64();
      break;
    case field(7, bytes):
      // Messages of one field are merged, says protobuf; nobody writes two.
      if (model.graph)
        throw std::length_error("it has two graphs");
      model.graph = readGraph(reader.get_message());
      break;
    case field(8, bytes):
      model.operatorSets.push_back(readOperatorSet(reader.get_message()));
      break;
    case field(25, bytes):
      model.functions.push_back(readFunction(reader.get_message()));
      break;
    default:
      reader.skip();
    }
  }
  return model;
}

Graph Reader::readGraph(pbf_reader reader) {
  count();
  if (++depth > depthLimit)
    throw std::length_error("its graphs are nested too deeply");
  Graph graph;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
    case field(1, bytes):
      graph.nodes.push_back(readNode(reader.get_message()));
      break;
    case field(2, bytes):
      graph.name = text(reader);
      break;
    case field(5, bytes):
      graph.initializers.push_back(readTensor(reader.get_message()));
      break;
    case field(15, bytes):
      graph.hasSparseInitializers = true;
      reader.skip();
      break;
    case field(11, bytes):
      graph.inputs.push_back(readValueInfo(reader.get_message()));
      break;
    case field(12, bytes):
      graph.outputs.push_back(readValueInfo(reader.get_message()));
      break;
    default:
      reader.skip();
    }
  }
  --depth;
  return graph;
}

Node Reader::readNode(pbf_reader reader) {
  count();
  Node node;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
    case field(1, bytes):
      count();
      node.inputs.push_back(text(reader));
      break;
    case field(2, bytes):
      count();
      node.outputs.push_back(text(reader));
      break;
    case field(3, bytes):
      node.name = text(reader);
      break;
    case field(4, bytes):
      node.type = text(reader);
      break;
    case field(7, bytes):
      node.domain = text(reader);
      break;
    case field(8, bytes):
      node.overload = text(reader);
      break;
    case field(5, bytes):
      node.attributes.push_back(readAttribute(reader.get_message()));
      break;
    case field(9, bytes): {
      Entry entry = readEntry(reader.get_message());
      if (entry.key == "pkg.torch.onnx.stack_trace")
        node.stackTrace = entry.value;
      break;
    }
    default:
      reader.skip();
    }
  }
  return node;
}

Attribute Reader::readAttribute(pbf_reader reader) {
  count();
  Attribute attribute;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
    case field(1, bytes):
      attribute.name = text(reader);
      break;
    case field(21, bytes):
      attribute.reference = text(reader);
      break;
    case field(20, varint):
      attribute.kind = reader.get_enum();
      break;
    case field(2, fixed32):
      attribute.real = reader.get_float();
      break;
    case field(3, varint):
      attribute.integer = reader.get_int64();
      break;
    case field(4, bytes):
      attribute.text = text(reader);
      break;
    case field(5, bytes):
      attribute.tensor =
          std::make_shared<Tensor>(readTensor(reader.get_message()));
      break;
    case field(6, bytes):
      attribute.graph =
          std::make_shared<Graph>(readGraph(reader.get_message()));
      break;
    case field(7, fixed32):
      attribute.reals.push_back(reader.get_float());
      break;
    case field(7, bytes):
      append(attribute.reals, reader.get_packed_float());
      break;
    case field(8, varint):
      attribute.integers.push_back(reader.get_int64());
      break;
    case field(8, bytes):
      append(attribute.integers, reader.get_packed_int64());
      break;
    case field(9, bytes):
      count();
      attribute.texts.push_back(text(reader));
      break;
    default:
      reader.skip();
    }
  }
  return attribute;
}

Tensor Reader::readTensor(pbf_reader reader) {
  count();
  Tensor tensor;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
    case field(1, varint):
      tensor.dims.push_back(reader.get_int64());
      break;
    case field(1, bytes):
      append(tensor.dims, reader.get_packed_int64());
      break;
    case field(2, varint):
      tensor.type = DataType(reader.get_int32());
      break;
    case field(4, fixed32):
      tensor.floats.push_back(reader.get_float());
      break;
    case field(4, bytes):
      append(tensor.floats, reader.get_packed_float());
      break;
    case field(5, varint):
      tensor.ints32.push_back(reader.get_int32());
      break;
    case field(5, bytes):
      append(tensor.ints32, reader.get_packed_int32());
      break;
    case field(7, varint):
      tensor.ints64.push_back(reader.get_int64());
      break;
    case field(7, bytes):
      append(tensor.ints64, reader.get_packed_int64());
      break;
    case field(8, bytes):
      tensor.name = text(reader);
      break;
    case field(9, bytes):
      tensor.raw = text(reader);
      break;
    case field(10, fixed64):
      tensor.doubles.push_back(reader.get_double());
      break;
    case field(10, bytes):
      append(tensor.doubles, reader.get_packed_double());
      break;
    case field(11, varint):
      tensor.uints64.push_back(reader.get_uint64());
      break;
    case field(11, bytes):
      append(tensor.uints64, reader.get_packed_uint64());
      break;
    case field(13, bytes):
      tensor.external.push_back(readEntry(reader.get_message()));
      break;
    case field(14, varint):
      tensor.isExternal = reader.get_enum() == 1;
      break;
    default:
      reader.skip();
    }
  }
  return tensor;
}

ValueInfo Reader::readValueInfo(pbf_reader reader) {
  count();
  ValueInfo info;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
    case field(1, bytes):
      info.name = text(reader);
      break;
    case field(2, bytes):
      info.type = readType(reader.get_message());
      break;
    default:
      reader.skip();
    }
  }
  return info;
}

Type Reader::readType(pbf_reader reader) {
  Type type;
  while (reader.next()) {
    if (reader.tag_and_type() != field(1, bytes)) {
      reader.skip();
      continue;
    }
    type.isTensor = true;
    pbf_reader tensor = reader.get_message();
    while (tensor.next()) {
      switch (tensor.tag_and_type()) {
      case field(1, varint):
        type.element = DataType(tensor.get_int32());
        break;
      case field(2, bytes):
        type.shape = readShape(tensor.get_message());
        break;
      default:
        tensor.skip();
      }
    }
  }
  return type;
}

std::vector<TypeDim> Reader::readShape(pbf_reader reader) {
  std::vector<TypeDim> shape;
  while (reader.next()) {
    if (reader.tag_and_type() != field(1, bytes)) {
      reader.skip();
      continue;
    }
    count();
    TypeDim &dim = shape.emplace_back();
    pbf_reader message = reader.get_message();
    while (message.next()) {
      switch (message.tag_and_type()) {
      case field(1, varint):
        dim.value = message.get_int64();
        break;
      case field(2, bytes):
        dim.parameter = text(message);
        break;
      default:
        message.skip();
      }
    }
  }
  return shape;
}

Function Reader::readFunction(pbf_reader reader) {
  count();
  Function function;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
    case field(1, bytes):
      function.name = text(reader);
      break;
    case field(4, bytes):
      count();
      function.inputs.push_back(text(reader));
      break;
    case field(5, bytes):
      count();
      function.outputs.push_back(text(reader));
      break;
    case field(7, bytes):
      function.nodes.push_back(readNode(reader.get_message()));
      break;
    case field(9, bytes):
      function.operatorSets.push_back(readOperatorSet(reader.get_message()));
      break;
    case field(10, bytes):
      function.domain = text(reader);
      break;
    case field(11, bytes):
      function.defaults.push_back(readAttribute(reader.get_message()));
      break;
    case field(13, bytes):
      function.overload = text(reader);
      break;
    default:
      reader.skip();
    }
  }
  return function;
}

OperatorSet Reader::readOperatorSet(pbf_reader reader) {
  count();
  OperatorSet set;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
    case field(1, bytes):
      set.domain = text(reader);
      break;
    case field(2, varint):
      set.version = reader.get_int64();
      break;
    default:
      reader.skip();
    }
  }
  return set;
}

Entry Reader::readEntry(pbf_reader reader) {
  count();
  Entry entry;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
    case field(1, bytes):
      entry.key = text(reader);
      break;
    case field(2, bytes):
      entry.value = text(reader);
      break;
    default:
      reader.skip();
    }
  }
  return entry;
}

} // namespace

std::optional<Model> marver::onnx::parseModel(StringRef data,
                                              std::string &error) {
  try {
    return Reader().readModel(pbf_reader(data.data(), data.size()));
  } catch (const protozero::end_of_buffer_exception &) {
    error = "it ends in the middle of a message: is it truncated?";
  } catch (const protozero::exception &) {
    error = "it is not a valid protobuf message";
  } catch (const std::length_error &limit) {
    error = limit.what();
  } catch (const std::bad_alloc &) {
    error = "it does not fit into memory";
  }
  return std::nullopt;
}
