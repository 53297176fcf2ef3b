//===- Program.cpp - Reads the JSON of an exported program ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Fields are those of torch/_export/serde/schema.py, schema version 8. Fields
// that are not asked for (devices, hints, requires_grad, call graphs) are not
// looked at. The first error is kept and everything after it is skipped.
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Program.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"
#include <cmath>
#include <simdjson.h>

using namespace llvm;
namespace dom = simdjson::dom;

namespace marver::torch {

bool isFloating(ScalarType type) {
  return type == ScalarType::Half || type == ScalarType::Float ||
         type == ScalarType::Double || type == ScalarType::BFloat16;
}

bool isUnsigned(ScalarType type) {
  return type == ScalarType::Byte || type == ScalarType::UInt16 ||
         type == ScalarType::UInt32 || type == ScalarType::UInt64;
}

std::string nameOf(ScalarType type) {
  static constexpr const char *names[] = {
      "unknown",   "uint8",      "int8",    "int16",   "int32",
      "int64",     "float16",    "float32", "float64", "complex32",
      "complex64", "complex128", "bool",    "bfloat16"};
  int number = static_cast<int>(type);
  if (number >= 0 && number < int(std::size(names)))
    return names[number];
  switch (number) {
  case 28:
    return "uint16";
  case 34:
    return "uint32";
  case 35:
    return "uint64";
  case 29:
  case 30:
  case 31:
  case 32:
  case 33:
    return "float8";
  default:
    return "dtype " + std::to_string(number);
  }
}

namespace {

/// Deeper nesting than any schema needs is an attack, not a model.
constexpr size_t maxJsonDepth = 256;

class JsonReader {
public:
  JsonReader(std::string file, SymContext &symbols)
      : file(std::move(file)), symbols(symbols) {}

  /// The document, which lives in `parser`.
  dom::element parse(dom::parser &parser, ArrayRef<char> bytes) {
    dom::element root;
    // The parser reads a little past the end: it copies into a padded buffer.
    if (simdjson::error_code code =
            parser.allocate(std::max<size_t>(bytes.size(), 64), maxJsonDepth))
      fail(simdjson::error_message(code));
    else if (simdjson::error_code code =
                 parser.parse(bytes.data(), bytes.size()).get(root))
      fail(simdjson::error_message(code));
    return root;
  }

  bool failed() const { return !message.empty(); }
  Error takeError() {
    return makeError("'" + file + "' in the archive: " + message);
  }
  void fail(const Twine &text) {
    if (message.empty())
      message = text.str();
  }

  //===--------------------------------------------------------------------===//
  // Fields
  //===--------------------------------------------------------------------===//

  std::optional<dom::element> find(dom::element object, StringRef key) {
    dom::element value;
    dom::object fields;
    if (failed() || object.get(fields))
      return std::nullopt;
    if (fields.at_key(std::string_view(key.data(), key.size())).get(value) ||
        value.is_null())
      return std::nullopt;
    return value;
  }
  dom::element get(dom::element object, StringRef key) {
    if (std::optional<dom::element> value = find(object, key))
      return *value;
    fail("'" + key + "' is missing");
    return {};
  }
  std::string string(dom::element value) {
    std::string_view text;
    if (failed() || value.get(text)) {
      fail("a string was expected");
      return "";
    }
    return std::string(text);
  }
  int64_t integer(dom::element value) {
    int64_t number = 0;
    bool truth;
    if (failed())
      return 0;
    if (!value.get(truth))
      return truth;
    if (value.get(number))
      fail("an integer was expected");
    return number;
  }
  double number(dom::element value) {
    double number = 0;
    std::string_view text;
    if (failed() || !value.get(number))
      return number;
    if (!value.get(text)) {
      if (text == "Infinity")
        return std::numeric_limits<double>::infinity();
      if (text == "-Infinity")
        return -std::numeric_limits<double>::infinity();
      if (text == "NaN")
        return std::numeric_limits<double>::quiet_NaN();
    }
    fail("a number was expected");
    return 0;
  }
  void forEach(dom::element value, function_ref<void(dom::element)> body) {
    dom::array items;
    if (failed() || value.get(items)) {
      fail("a list was expected");
      return;
    }
    for (dom::element item : items) {
      if (failed())
        return;
      body(item);
    }
  }
  void forEachField(dom::element value,
                    function_ref<void(StringRef, dom::element)> body) {
    dom::object fields;
    if (failed() || value.get(fields)) {
      fail("an object was expected");
      return;
    }
    for (auto [key, item] : fields) {
      if (failed())
        return;
      body(StringRef(key.data(), key.size()), item);
    }
  }
  /// A union of the schema: an object with one field.
  std::pair<StringRef, dom::element> choice(dom::element value) {
    dom::object fields;
    if (!failed() && !value.get(fields) && fields.size() == 1) {
      auto field = *fields.begin();
      return {StringRef(field.key.data(), field.key.size()), field.value};
    }
    fail("an object with one field was expected");
    return {"", {}};
  }

  //===--------------------------------------------------------------------===//
  // Structures of the schema
  //===--------------------------------------------------------------------===//

  SymExpr symInt(dom::element value) {
    auto [kind, content] = choice(value);
    if (kind == "as_int")
      return SymExpr(integer(content));
    if (kind != "as_expr") {
      fail("a size was expected");
      return SymExpr();
    }
    std::string text = string(get(content, "expr_str"));
    if (failed())
      return SymExpr();
    auto [entry, isNew] = expressions.try_emplace(text);
    if (isNew) {
      if (std::optional<SymExpr> expr = symbols.parse(text))
        entry->second = std::move(*expr);
      else
        fail(symbols.error);
    }
    return entry->second;
  }

  TensorMeta tensorMeta(dom::element value) {
    TensorMeta meta;
    meta.type = static_cast<ScalarType>(integer(get(value, "dtype")));
    forEach(get(value, "sizes"),
            [&](dom::element size) { meta.sizes.push_back(symInt(size)); });
    SmallVector<SymExpr, 4> strides;
    forEach(get(value, "strides"),
            [&](dom::element stride) { strides.push_back(symInt(stride)); });
    if (!failed() && strides.size() != meta.sizes.size())
      fail("a tensor has another number of strides than of dims");
    SymExpr expected(1);
    for (size_t i = strides.size(); !failed() && i-- > 0;) {
      if (meta.sizes[i] == SymExpr(1))
        continue;
      meta.isContiguous &= strides[i] == expected;
      expected = symbols.mul(expected, meta.sizes[i]);
    }
    symbols.error.clear(); // sizes of which no tensor could be made
    if (integer(get(value, "layout")) != 7)
      fail("sparse tensors are not supported");
    return meta;
  }

  /// As above, and where the elements lie in a weight's file.
  TensorMeta weightMeta(dom::element value) {
    TensorMeta meta = tensorMeta(value);
    auto fixed = [&](dom::element size) {
      std::optional<int64_t> number = symInt(size).constant();
      if (!number)
        fail("a weight has symbolic strides");
      return number.value_or(0);
    };
    forEach(get(value, "strides"), [&](dom::element stride) {
      meta.strides.push_back(fixed(stride));
    });
    meta.offset = fixed(get(value, "storage_offset"));
    return meta;
  }

  /// {"as_name": ...} or {"as_int": ...}, ... of a symbolic scalar.
  Argument symArgument(dom::element value, Argument::Kind kind) {
    auto [how, content] = choice(value);
    Argument argument;
    argument.kind = kind;
    if (how == "as_name") {
      argument.text = string(content);
    } else if (how == "as_int") {
      argument.kind = Argument::Int;
      argument.integer = integer(content);
    } else if (how == "as_bool") {
      argument.kind = Argument::Bool;
      argument.integer = integer(content);
    } else if (how == "as_float") {
      argument.kind = Argument::Float;
      argument.number = number(content);
    } else {
      fail("a symbolic argument was expected");
    }
    return argument;
  }

  Argument tensorArgument(dom::element value) {
    Argument argument;
    argument.kind = Argument::Tensor;
    argument.text = string(get(value, "name"));
    return argument;
  }

  template <typename Body> Argument listOf(dom::element value, Body body) {
    Argument argument;
    argument.kind = Argument::List;
    forEach(value,
            [&](dom::element item) { argument.list.push_back(body(item)); });
    return argument;
  }

  Argument argument(dom::element value) {
    auto [kind, content] = choice(value);
    return argument(kind, content);
  }

  Argument argument(StringRef kind, dom::element content) {
    auto simple = [&](Argument::Kind result) {
      return [this, result](dom::element item) {
        Argument argument;
        argument.kind = result;
        if (result == Argument::Float)
          argument.number = number(item);
        else if (result == Argument::String)
          argument.text = string(item);
        else
          argument.integer = integer(item);
        return argument;
      };
    };
    auto symbolic = [&](Argument::Kind result) {
      return [this, result](dom::element item) {
        return symArgument(item, result);
      };
    };
    auto optionalTensor = [&](dom::element item) {
      auto [how, tensor] = choice(item);
      return how == "as_none" ? Argument() : tensorArgument(tensor);
    };
    auto plainTensor = [&](dom::element item) { return tensorArgument(item); };

    Argument result;
    if (kind == "as_none")
      return result;
    if (kind == "as_tensor")
      return tensorArgument(content);
    if (kind == "as_optional_tensor")
      return optionalTensor(content);
    if (kind == "as_tensors")
      return listOf(content, plainTensor);
    if (kind == "as_optional_tensors")
      return listOf(content, optionalTensor);
    if (kind == "as_int")
      return simple(Argument::Int)(content);
    if (kind == "as_ints")
      return listOf(content, simple(Argument::Int));
    if (kind == "as_float")
      return simple(Argument::Float)(content);
    if (kind == "as_floats")
      return listOf(content, simple(Argument::Float));
    if (kind == "as_bool")
      return simple(Argument::Bool)(content);
    if (kind == "as_bools")
      return listOf(content, simple(Argument::Bool));
    if (kind == "as_string")
      return simple(Argument::String)(content);
    if (kind == "as_strings")
      return listOf(content, simple(Argument::String));
    if (kind == "as_sym_int")
      return symArgument(content, Argument::SymInt);
    if (kind == "as_sym_ints")
      return listOf(content, symbolic(Argument::SymInt));
    if (kind == "as_sym_float")
      return symArgument(content, Argument::SymFloat);
    if (kind == "as_sym_floats")
      return listOf(content, symbolic(Argument::SymFloat));
    if (kind == "as_sym_bool")
      return symArgument(content, Argument::SymBool);
    if (kind == "as_sym_bools")
      return listOf(content, symbolic(Argument::SymBool));
    if (kind == "as_scalar_type")
      return simple(Argument::ScalarType)(content);
    if (kind == "as_memory_format")
      return simple(Argument::MemoryFormat)(content);
    if (kind == "as_layout")
      return simple(Argument::Layout)(content);
    if (kind == "as_device") {
      result.kind = Argument::Device;
      result.text = string(get(content, "type"));
      return result;
    }
    if (kind == "as_graph") {
      result.kind = Argument::Graph;
      return result;
    }
    result.kind = Argument::Other;
    result.text = kind.str();
    return result;
  }

  Node node(dom::element value) {
    Node result;
    result.target = string(get(value, "target"));
    if (std::optional<dom::element> name = find(value, "name"))
      result.name = string(*name);
    forEach(get(value, "inputs"), [&](dom::element input) {
      std::string name = string(get(input, "name"));
      result.inputs.emplace_back(std::move(name), argument(get(input, "arg")));
    });
    forEach(get(value, "outputs"), [&](dom::element output) {
      result.outputs.push_back(argument(output));
    });
    if (std::optional<dom::element> metadata = find(value, "metadata"))
      if (std::optional<dom::element> trace = find(*metadata, "stack_trace"))
        result.stackTrace = string(*trace);
    return result;
  }

  //===--------------------------------------------------------------------===//
  // Graphs. Regions that only set a mode (no gradients, no autocast) are taken
  // into the graph that holds them, the others are listed in the program.
  //===--------------------------------------------------------------------===//

  /// Names of a region get a prefix; inputs of one that is taken into the graph
  /// around it are values of that graph.
  struct Scope {
    StringMap<std::string> names;
    std::string prefix;

    std::string rename(const std::string &name) const {
      auto found = names.find(name);
      return found == names.end() ? prefix + name : found->second;
    }
    void apply(Argument &argument) const {
      if (argument.kind == Argument::Tensor ||
          argument.kind == Argument::SymInt ||
          argument.kind == Argument::SymFloat ||
          argument.kind == Argument::SymBool)
        argument.text = rename(argument.text);
      for (Argument &item : argument.list)
        apply(item);
    }
  };

  void graph(dom::element value, Program &program, std::vector<Node> &nodes,
             const Scope &scope, unsigned depth) {
    constexpr unsigned deepest = 32;
    if (depth > deepest)
      fail("regions are nested too deeply");
    if (failed())
      return;
    forEachField(get(value, "tensor_values"), [&](StringRef name,
                                                  dom::element meta) {
      program.tensors.try_emplace(scope.rename(name.str()), tensorMeta(meta));
    });
    forEachField(
        get(value, "sym_int_values"), [&](StringRef name, dom::element size) {
          program.symInts.try_emplace(scope.rename(name.str()), symInt(size));
        });
    forEach(get(value, "nodes"), [&](dom::element item) {
      Node result = node(item);
      for (auto &[name, argument] : result.inputs)
        scope.apply(argument);
      for (Argument &argument : result.outputs)
        scope.apply(argument);
      if (mode(item, result, program, nodes, depth))
        return;
      regions(item, result, program, depth);
      nodes.push_back(std::move(result));
    });
  }

  /// The graph of the operator's input `position`.
  dom::element innerGraph(dom::element item, size_t position) {
    dom::element inner;
    size_t at = 0;
    forEach(get(item, "inputs"), [&](dom::element input) {
      if (at++ == position)
        inner = get(choice(get(input, "arg")).second, "graph");
    });
    return inner;
  }

  /// Reads the regions that a node calls.
  void regions(dom::element item, Node &call, Program &program,
               unsigned depth) {
    for (auto [position, input] : enumerate(call.inputs)) {
      if (input.second.kind != Argument::Graph)
        continue;
      dom::element inner = innerGraph(item, position);
      Scope scope;
      scope.prefix = "region" + std::to_string(++regionCount) + ".";
      Region region;
      auto arguments = [&](const char *field, std::vector<Argument> &list) {
        forEach(get(inner, field), [&](dom::element value) {
          list.push_back(argument(value));
          scope.apply(list.back());
        });
        list = flatten(list);
      };
      arguments("inputs", region.inputs);
      arguments("outputs", region.outputs);
      graph(inner, program, region.nodes, scope, depth + 1);
      input.second.integer = program.regions.size();
      program.regions.push_back(std::move(region));
    }
  }

  /// Takes a region that only sets a mode apart; false for all other nodes.
  bool mode(dom::element item, const Node &call, Program &program,
            std::vector<Node> &nodes, unsigned depth) {
    StringRef target = call.target;
    if (failed() || !target.consume_front("torch.ops.higher_order."))
      return false;
    if (target == "wrap_with_autocast") {
      // Where it is on, its operators compute in other dtypes than written.
      if (call.inputs.size() < 3 ||
          call.inputs[2].second.kind != Argument::Bool ||
          call.inputs[2].second.integer != 0)
        return false;
    } else if (target != "wrap_with_set_grad_enabled") {
      return false;
    }
    size_t position = 0;
    while (position < call.inputs.size() &&
           call.inputs[position].second.kind != Argument::Graph)
      ++position;
    if (position == call.inputs.size()) {
      fail("a region has no graph");
      return true;
    }
    dom::element inner = innerGraph(item, position);
    Scope scope;
    scope.prefix = "region" + std::to_string(++regionCount) + ".";
    forEach(get(inner, "inputs"), [&](dom::element input) {
      Argument name = argument(input);
      if (++position >= call.inputs.size())
        fail("a region has more inputs than it is given");
      else if (!name.text.empty())
        scope.names[name.text] = call.inputs[position].second.text;
    });
    if (failed())
      return true;
    graph(inner, program, nodes, scope, depth + 1);
    std::vector<Argument> results;
    forEach(get(inner, "outputs"), [&](dom::element output) {
      results.push_back(argument(output));
      scope.apply(results.back());
    });
    std::vector<Argument> names = flatten(call.outputs);
    results = flatten(results);
    if (names.size() != results.size()) {
      fail("a region has another number of results");
      return true;
    }
    for (auto [name, result] : zip(names, results)) {
      if (name.kind != Argument::Tensor)
        continue; // sizes are expressions of the graph around
      Node alias;
      alias.target = "torch.ops.aten.alias.default";
      alias.stackTrace = call.stackTrace;
      alias.inputs.emplace_back("self", result);
      alias.outputs.push_back(name);
      nodes.push_back(std::move(alias));
    }
    return true;
  }

  static std::vector<Argument> flatten(const std::vector<Argument> &arguments) {
    std::vector<Argument> result;
    for (const Argument &argument : arguments)
      if (argument.kind == Argument::List)
        result.insert(result.end(), argument.list.begin(), argument.list.end());
      else
        result.push_back(argument);
    return result;
  }

  InputSpec inputSpec(dom::element value) {
    auto [kind, content] = choice(value);
    InputSpec spec;
    spec.kind = StringSwitch<InputSpec::Kind>(kind)
                    .Case("user_input", InputSpec::User)
                    .Case("parameter", InputSpec::Parameter)
                    .Case("buffer", InputSpec::Buffer)
                    .Case("tensor_constant", InputSpec::Constant)
                    .Case("constant_input", InputSpec::ConstantValue)
                    .Case("custom_obj", InputSpec::CustomObject)
                    .Default(InputSpec::Token);
    switch (spec.kind) {
    case InputSpec::User:
      spec.value = argument(get(content, "arg"));
      break;
    case InputSpec::Parameter:
    case InputSpec::Buffer:
    case InputSpec::Constant:
      spec.value = tensorArgument(get(content, "arg"));
      spec.source = string(get(
          content, spec.kind == InputSpec::Parameter ? "parameter_name"
                   : spec.kind == InputSpec::Buffer  ? "buffer_name"
                                                     : "tensor_constant_name"));
      if (spec.kind == InputSpec::Buffer)
        spec.persistent = integer(get(content, "persistent")) != 0;
      break;
    case InputSpec::ConstantValue:
      spec.value.text = string(get(content, "name"));
      break;
    case InputSpec::CustomObject:
      spec.source = string(get(content, "custom_obj_name"));
      break;
    case InputSpec::Token:
      spec.source = kind.str();
      break;
    }
    return spec;
  }

  OutputSpec outputSpec(dom::element value) {
    auto [kind, content] = choice(value);
    OutputSpec spec;
    if (kind == "user_output") {
      spec.value = argument(get(content, "arg"));
    } else if (kind == "buffer_mutation" || kind == "user_input_mutation" ||
               kind == "parameter_mutation") {
      spec.kind = OutputSpec::Mutation;
      spec.value = tensorArgument(get(content, "arg"));
      spec.target = string(
          get(content, kind == "buffer_mutation"       ? "buffer_name"
                       : kind == "user_input_mutation" ? "user_input_name"
                                                       : "parameter_name"));
    } else {
      spec.kind = OutputSpec::Other;
      spec.target = kind.str();
    }
    return spec;
  }

  void payloads(dom::element root, StringMap<Payload> &table) {
    forEachField(get(root, "config"), [&](StringRef name, dom::element value) {
      Payload payload;
      payload.path = string(get(value, "path_name"));
      payload.pickled = integer(get(value, "use_pickle")) != 0;
      std::optional<dom::element> meta = find(value, "tensor_meta");
      if (meta && !payload.pickled)
        payload.meta = weightMeta(*meta);
      table.try_emplace(name, std::move(payload));
    });
  }

  void program(dom::element root, Program &program) {
    dom::element version = get(root, "schema_version");
    program.schemaMajor = integer(get(version, "major"));
    program.schemaMinor = integer(get(version, "minor"));
    if (std::optional<dom::element> torch = find(root, "torch_version"))
      program.torchVersion = string(*torch);
    if (failed())
      return;
    if (program.schemaMajor != 8) {
      fail("schema version " + Twine(program.schemaMajor) + "." +
           Twine(program.schemaMinor) + " (PyTorch " + program.torchVersion +
           ") is not supported; version 8 is, which PyTorch 2.9 and newer "
           "write");
      return;
    }
    // Ranges first: the normal form of an expression makes use of them.
    forEachField(get(root, "range_constraints"), [&](StringRef name,
                                                     dom::element value) {
      // Keys like '32*s0' follow from the symbol's own range.
      if (!llvm::all_of(name, [](char c) { return isAlnum(c) || c == '_'; }))
        return;
      SymRange range;
      if (std::optional<dom::element> low = find(value, "min_val"))
        range.min = integer(*low);
      if (std::optional<dom::element> high = find(value, "max_val"))
        range.max = integer(*high);
      if (range.max == SymRange::highest - 1) // torch's other infinity
        range.max = SymRange::highest;
      if (range.min > range.max)
        fail("the range of '" + name + "' is empty");
      symbols.atom(symbols.symbolAtom(name)).range = range;
    });
    if (std::optional<dom::element> guards = find(root, "guards_code"))
      forEach(*guards, [&](dom::element guard) {
        program.guards.push_back(string(guard));
      });

    dom::element module = get(root, "graph_module");
    dom::element graph = get(module, "graph");
    this->graph(graph, program, program.nodes, Scope(), 0);
    dom::element signature = get(module, "signature");
    forEach(get(signature, "input_specs"), [&](dom::element value) {
      program.inputs.push_back(inputSpec(value));
    });
    forEach(get(signature, "output_specs"), [&](dom::element value) {
      program.outputs.push_back(outputSpec(value));
    });
  }

private:
  std::string file;
  std::string message;
  SymContext &symbols;
  /// The same few expressions are repeated thousands of times.
  StringMap<SymExpr> expressions;
  unsigned regionCount = 0;
};

} // namespace

Expected<std::unique_ptr<Program>> Program::read(const Package &package) {
  auto program = std::make_unique<Program>();
  dom::parser parser;

  std::string file = package.path("models/" + package.program + ".json");
  Expected<ArrayRef<char>> bytes = package.archive.read(file);
  if (!bytes)
    return bytes.takeError();
  JsonReader reader(file, program->symbols);
  dom::element root = reader.parse(parser, *bytes);
  reader.program(root, *program);
  if (reader.failed())
    return reader.takeError();

  struct Table {
    const char *folder, *suffix;
    StringMap<Payload> &payloads;
  };
  for (Table table :
       {Table{"data/weights/", "_weights_config.json", program->weights},
        Table{"data/constants/", "_constants_config.json",
              program->constants}}) {
    file = package.path(table.folder + package.program + table.suffix);
    bytes = package.archive.read(file);
    if (!bytes)
      return bytes.takeError();
    JsonReader reader(file, program->symbols);
    root = reader.parse(parser, *bytes);
    reader.payloads(root, table.payloads);
    if (reader.failed())
      return reader.takeError();
    for (auto &entry : table.payloads) {
      Payload &payload = entry.second;
      if (!StringRef(payload.path).contains('/'))
        payload.path = package.path(table.folder + payload.path);
    }
  }
  return program;
}

} // namespace marver::torch
