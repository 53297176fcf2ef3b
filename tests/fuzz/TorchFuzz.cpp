//===- TorchFuzz.cpp ------------------------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Program.h"
#include "tests/fuzz/Edits.h"
#include "tests/unit/compiler-import-torch/ZipWriter.h"

#include <cstdlib>

using namespace marver::torch;

namespace {

/// One node, one weight, a symbolic dim: every structure of the schema that is
/// read, in its shortest form.
constexpr const char *program = R"json({"schema_version":{"major":8,"minor":20},
"range_constraints":{"s0":{"min_val":2,"max_val":40}},"guards_code":["x"],
"torch_version":"2.13.0","graph_module":{"graph":{
"tensor_values":{"x":{"dtype":7,"layout":7,"storage_offset":{"as_int":0},
"sizes":[{"as_expr":{"expr_str":"Add(Mul(Integer(32), Symbol('s0', positive=True, integer=True)), FloorDiv(Symbol('s0'), Integer(3)), Mod(Symbol('s1'), Max(Integer(2), Symbol('s0'))))"
}
},{"as_int":3}],
"strides":[{"as_int":3},{"as_int":1}]
}
}
,
    "sym_int_values"
    : {"n" : {"as_expr" : {"expr_str" : "Pow(Symbol('s0'), Integer(2))"}}},
      "nodes" : [ {
        "target" : "torch.ops.aten.cat.default",
        "name" : "y",
        "inputs" : [
          {"name" : "tensors", "arg" : {"as_tensors" : [ {"name" : "x"} ]}},
          {"name" : "dim", "arg" : {"as_sym_int" : {"as_name" : "n"}}},
          {"name" : "a", "arg" : {"as_floats" : [ 1.5, "NaN" ]}},
          {"name" : "b", "arg" : {"as_bool" : true}}, {
            "name" : "c",
            "arg" : {"as_optional_tensors" : [ {"as_none" : true} ]}
          },
          {"name" : "d", "arg" : {"as_device" : {"type" : "cpu"}}}
        ],
        "outputs" : [ {"as_tensor" : {"name" : "y"}} ],
        "metadata" : {"stack_trace" : "File"}
      } ]
}
, "signature" : {
  "input_specs":[{"parameter":{"arg":{"name":"p"},"parameter_name":"w"}},
{"buffer":{"arg":{"name":"q"},"buffer_name":"v","persistent":false}},
{"user_input":{"arg":{"as_tensor":{"name":"x"}}}},
{"constant_input":{"name":"k","value":{"as_int":3}}}],
"output_specs":[{"user_output":{"arg":{"as_tensor":{"name":"y"}}}}]
}
}})json";

constexpr const char *weights = R"json({"config":{"w":{"path_name":"weight_0",
"is_param":true,"use_pickle":false,"tensor_meta":{"dtype":7,"layout":7,
"sizes":[{"as_int":2}],"strides":[{"as_int":1}],"storage_offset":{"as_int":0}}}}})json";

} // namespace

/// The bytes are edits (Edits.h) of a valid archive: of its zip structure, of
/// its JSON, or of both.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::string valid = [] {
    ZipOptions options;
    options.zip64 = true;
    return writeZip(
        {{"m/models/model.json", program},
         {"m/data/weights/model_weights_config.json", weights},
         {"m/data/constants/model_constants_config.json", R"({"config":{}})"},
         {"m/data/weights/weight_0", "01234567"},
         {"m/archive_format", "pt2"},
         {"m/byteorder", "little"}},
        options);
  }();
  std::vector<uint8_t> bytes(valid.begin(), valid.end());
  applyEdits(bytes, bytes.size(), data, size);
  bytes.shrink_to_fit();
  llvm::Expected<Package> package = Package::open(llvm::ArrayRef<char>(
      reinterpret_cast<const char *>(bytes.data()), bytes.size()));
  if (!package) {
    if (llvm::toString(package.takeError()).empty())
      abort();
    return 0;
  }
  llvm::Expected<std::unique_ptr<Program>> read = Program::read(*package);
  if (!read) {
    if (llvm::toString(read.takeError()).empty())
      abort();
    return 0;
  }
  for (auto &entry : (*read)->tensors)
    for (const SymExpr &expr : entry.second.sizes) {
      (*read)->symbols.range((*read)->symbols.resolve(expr));
      (*read)->symbols.print(expr);
    }
  // An edit that changes nothing leaves a program that is read whole.
  if (std::equal(valid.begin(), valid.end(), bytes.begin()) &&
      (*read)->nodes.size() != 1)
    abort();
  return 0;
}
