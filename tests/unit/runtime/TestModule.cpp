//===- TestModule.cpp - A module made without the compiler ----------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestModule.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace marver;

/// The order of the directory at the start of the image.
enum Function {
  MainShape,
  MainRun,
  AddShape,
  AddRun,
  VectorShape,
  GatherRun,
  NonzeroShape,
  NonzeroRun,
  UpdateShape,
  UpdateRun,
  PreparedShape,
  PreparedRun,
  Prepare,
  SumsRun,
  CopyShape,
  Copy8,
  Copy16,
  Copy32,
  Copy64,
  ScalarShape,
  ScalarRun,
  HugeShape,
  StateShape,
  SumRun,
  PeekRun,
  SpinRun,
  ListRun,
};

static std::vector<uint8_t> readFile(const std::string &path) {
  std::vector<uint8_t> bytes;
  FILE *file = fopen(path.c_str(), "rb");
  if (!file) {
    fprintf(stderr, "cannot read %s\n", path.c_str());
    abort();
  }
  uint8_t buffer[4096];
  while (size_t size = fread(buffer, 1, sizeof(buffer), file))
    bytes.insert(bytes.end(), buffer, buffer + size);
  fclose(file);
  return bytes;
}

std::vector<float> marver::testConstants() {
  std::vector<float> values(300000);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i) * 0.25f;
  return values;
}

ModuleContents marver::testContents(const std::string &imagePath) {
  ModuleContents contents;
#if defined(__x86_64__)
  contents.arch = MV_ARCH_X86_64;
#else
  contents.arch = MV_ARCH_AARCH64;
#endif
  contents.code = readFile(imagePath);
  contents.textBytes = contents.code.size();
  contents.kernelCount = 6;
  contents.placeCount = 8;

  static const std::vector<float> constants = testConstants();
  contents.constants.push_back(
      {0, reinterpret_cast<const uint8_t *>(constants.data()),
       constants.size() * sizeof(float)});
  contents.constantsSize = constants.size() * sizeof(float);

  auto at = [&](Function function) {
    uint64_t slot = static_cast<uint64_t>(function) * 4;
    int32_t distance;
    memcpy(&distance, contents.code.data() + slot, sizeof(distance));
    return slot + static_cast<uint64_t>(distance);
  };
  contents.prepareOffset = at(Prepare);
  contents.preparedBytes = 8 * sizeof(float);
  contents.prepareScratchBytes = 64;

  auto add = [&](const char *name, Function shape, Function run,
                 const Interface &interface) {
    contents.entries.push_back({name, at(shape), at(run), 64, interface});
  };
  const int64_t s0 = MV_DIM_SYMBOL(0), s1 = MV_DIM_SYMBOL(1);
  const uint8_t f32 = MV_DTYPE_F32, i64 = MV_DTYPE_I64;
  const std::pair<int64_t, int64_t> any = {0, INT64_MAX};
  add("main", MainShape, MainRun, {{{f32, {8}}}, {{f32, {8}}}, {}, {}});
  add("add", AddShape, AddRun,
      {{{f32, {s0, 4}}, {f32, {s0, 4}}}, {{f32, {s0, 4}}}, {{1, 1000}}, {}});
  // The symbol's equality is left to the shape function.
  add("add_computed", AddShape, AddRun,
      {{{f32, {MV_DIM_COMPUTED, 4}}, {f32, {MV_DIM_COMPUTED, 4}}},
       {{f32, {MV_DIM_COMPUTED, 4}}},
       {},
       {}});
  add("gather", VectorShape, GatherRun,
      {{{i64, {s0}}}, {{f32, {s0}}}, {any}, {}});
  add("nonzero", NonzeroShape, NonzeroRun,
      {{{f32, {s0}}},
       {{i64, {MV_DIM_DATA_DEPENDENT}}, {f32, {s0}}},
       {any},
       {}});
  add("update", UpdateShape, UpdateRun,
      {{{f32, {16}}}, {{f32, {16}}}, {}, {{0, 0}}});
  add("prepared", PreparedShape, PreparedRun, {{}, {{f32, {8}}}, {}, {}});
  add("sums", VectorShape, SumsRun,
      {{{f32, {s0, s1}}}, {{f32, {s0}}}, {any, any}, {}});
  add("scalar", ScalarShape, ScalarRun, {{{f32, {}}}, {{f32, {}}}, {}, {}});
  add("huge", HugeShape, MainRun, {{{f32, {s0}}}, {{f32, {s0}}}, {any}, {}});
  // The sum begins with the first constants, the count with zero.
  const StateSpec sum = {{f32, {4}}, 0, 0}, count = {{f32, {}}, 1};
  add("sum", StateShape, SumRun,
      {{{f32, {4}}}, {{f32, {4}}}, {}, {}, {sum, count}});
  add("peek", StateShape, PeekRun, {{}, {{f32, {4}}}, {}, {}, {sum}});
  add("spin", MainShape, SpinRun, {{}, {{f32, {8}}}, {}, {}});
  add("list", NonzeroShape, ListRun,
      {{{f32, {s0}}}, {{f32, {MV_DIM_DATA_DEPENDENT}}}, {any}, {}});
  const struct {
    const char *name;
    uint8_t dtype;
    Function run;
  } copies[] = {{"i1", MV_DTYPE_I1, Copy8},      {"i8", MV_DTYPE_I8, Copy8},
                {"i16", MV_DTYPE_I16, Copy16},   {"i32", MV_DTYPE_I32, Copy32},
                {"i64", MV_DTYPE_I64, Copy64},   {"u8", MV_DTYPE_U8, Copy8},
                {"u16", MV_DTYPE_U16, Copy16},   {"u32", MV_DTYPE_U32, Copy32},
                {"u64", MV_DTYPE_U64, Copy64},   {"f16", MV_DTYPE_F16, Copy16},
                {"bf16", MV_DTYPE_BF16, Copy16}, {"f32", MV_DTYPE_F32, Copy32},
                {"f64", MV_DTYPE_F64, Copy64}};
  for (const auto &copy : copies)
    add((std::string("copy_") + copy.name).c_str(), CopyShape, copy.run,
        {{{copy.dtype, {s0, s1}}}, {{copy.dtype, {s0, s1}}}, {any, any}, {}});
  return contents;
}

SidecarContents marver::testDescriptions() {
  SidecarContents contents;
  contents.kernels = {
      {"double", "pointwise", "Mul", "model.py:1", "8xf32 -> 8xf32", "", 8, 64},
      {"add", "pointwise", "Add", "model.py:2", "8xf32, 8xf32 -> 8xf32", "", 8,
       96},
      {"add_rows", "pointwise", "Add", "model.py:3", "?x4xf32", "", -1, -1},
      {"gather", "gather", "Gather", "model.py:4", "?xi64", "", -1, -1},
      {"triple", "pointwise", "Mul", "model.py:5", "8xf32", "", 8, 64},
      {"sums", "reduction", "ReduceSum", "model.py:6", "?x?xf32", "", -1, -1}};
  contents.places.resize(8);
  contents.places[3] = {"both inputs have the same rows", "model.py:3"};
  contents.places[7] = {"index of Gather", "model.py:4"};
  contents.entries = {{"main", {"x"}, {"y"}, {}},
                      {"add", {"a", "b"}, {"sum"}, {"rows"}},
                      {"gather", {"indices"}, {"values"}, {"n"}}};
  return contents;
}
