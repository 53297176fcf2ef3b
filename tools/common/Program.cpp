//===- Program.cpp - What marver-run and marver-bench share ---------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/common/Program.h"

#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <new>
#include <sys/resource.h>

using namespace marver;

static const char *programName = "marver";

int marver::runProgram(const char *name, int (*program)(int argc, char **argv),
                       int argc, char **argv) {
  programName = name;
  try {
    return program(argc, argv);
  } catch (const std::bad_alloc &) {
    printError("out of memory");
    return BadInput;
  } catch (const std::exception &exception) {
    printError(std::string("internal failure: ") + exception.what());
  }
  return Internal;
}

void marver::printError(const std::string &message) {
  fflush(stdout);
  fprintf(stderr, "%s: error: %s\n", programName, message.c_str());
}

void marver::printWarning(const std::string &message) {
  fprintf(stderr, "%s: warning: %s\n", programName, message.c_str());
}

bool marver::parseThreadCounts(const std::string &text,
                               std::vector<int> &counts) {
  const char *next = text.data(), *end = next + text.size();
  counts.clear();
  for (;;) {
    int count;
    auto [rest, status] = std::from_chars(next, end, count);
    if (status != std::errc() || count < 0)
      return false;
    counts.push_back(count);
    if (rest == end)
      return true;
    if (*rest != ',')
      return false;
    next = rest + 1;
  }
}

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

/// "main, step" as far as the sidecar knows names.
static std::string functionNames(const mv_module *module,
                                 const Sidecar &sidecar) {
  std::string names;
  mv_module_info info;
  mv_module_query(module, &info);
  for (uint32_t i = 0; i < info.entry_count; ++i) {
    uint64_t hash;
    mv_module_signature_at(module, i, &hash);
    std::string name;
    for (const Sidecar::Entry &entry : sidecar.entries)
      if (mv_name_hash(entry.name.data(), entry.name.size()) == hash)
        name = entry.name;
    if (name.empty() && hash == mv_name_hash("main", 4))
      name = "main";
    if (name.empty()) {
      char text[32];
      snprintf(text, sizeof(text), "#%016" PRIx64, hash);
      name = text;
    }
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

/// Reads the key of --public-key.
static bool readKey(const std::string &text, std::vector<uint8_t> &key) {
  std::string error;
  if (text.size() == 64 &&
      text.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos) {
    for (size_t i = 0; i < text.size(); i += 2)
      key.push_back(static_cast<uint8_t>(
          strtoul(text.substr(i, 2).c_str(), nullptr, 16)));
    return true;
  }
  if (!readWholeFile(text, key, error)) {
    printError(error);
    return false;
  }
  if (key.size() != 32) {
    printError(text + ": a public key has 32 bytes, not " +
               std::to_string(key.size()));
    return false;
  }
  return true;
}

bool marver::loadModule(const CommonOptions &options, mv_pool *pool,
                        LoadedModule &loaded) {
  mv_load_options load = {};
  std::vector<uint8_t> key;
  if (!options.publicKey.empty()) {
    if (!readKey(options.publicKey, key))
      return false;
    load.public_key = key.data();
  }
  load.flags = options.verify ? MV_LOAD_VERIFY_CONSTANTS : 0;
  load.pool = pool;
  mv_module *module;
  mv_error error = {};
  // As for most tools, "-" is what comes in.
  const char *path =
      options.module == "-" ? "/dev/stdin" : options.module.c_str();
  if (mv_module_load_file(path, &load, &module, &error) != MV_OK) {
    printError(options.module + ": " + error.message);
    return false;
  }
  loaded.module.reset(module);
  std::string warning;
  loaded.sidecar = loadSidecar(options.module, module, warning);
  if (!warning.empty())
    printWarning(warning);

  return true;
}

bool marver::chooseFunction(const CommonOptions &options,
                            LoadedModule &loaded) {
  loaded.function = options.function;
  loaded.signature =
      mv_module_signature(loaded.module.get(), options.function.c_str());
  if (!loaded.signature) {
    printError(
        options.module + ": no function '" + options.function +
        "'; it has: " + functionNames(loaded.module.get(), loaded.sidecar));
    return false;
  }
  if (const Sidecar::Entry *entry = loaded.sidecar.findEntry(loaded.function)) {
    loaded.inputNames = entry->inputs;
    loaded.outputNames = entry->outputs;
    loaded.symbolNames = entry->symbols;
  }
  return true;
}

/// A line per input, output, symbol and alias pair.
static void printSignature(const mv_signature &signature,
                           const std::string &name,
                           const Sidecar::Entry *names) {
  static const Sidecar::Entry none;
  const Sidecar::Entry &known = names ? *names : none;
  printf("function %s\n", name.c_str());
  auto print = [&](const char *what, const mv_tensor_type *types,
                   uint32_t count, const std::vector<std::string> &labels) {
    for (uint32_t i = 0; i < count; ++i) {
      std::string label =
          i < labels.size() && !labels[i].empty() ? " " + labels[i] : "";
      WantedType type = {types[i].dtype,
                         {types[i].dims, types[i].dims + types[i].rank}};
      printf("  %s[%u]%s: %s\n", what, i, label.c_str(),
             wantedText(type, known.symbols).c_str());
    }
  };
  print("input", signature.inputs, signature.input_count, known.inputs);
  print("output", signature.outputs, signature.output_count, known.outputs);
  print("state", signature.states, signature.state_count, {});
  for (uint32_t i = 0; i < signature.symbol_count; ++i) {
    const mv_file_symbol &range = signature.symbols[i];
    std::string symbol = i < known.symbols.size() && !known.symbols[i].empty()
                             ? known.symbols[i]
                             : "s" + std::to_string(i);
    if (range.max == INT64_MAX)
      printf("  dim %s: %" PRId64 " or more\n", symbol.c_str(), range.min);
    else
      printf("  dim %s: %" PRId64 " to %" PRId64 "\n", symbol.c_str(),
             range.min, range.max);
  }
  for (uint32_t i = 0; i < signature.alias_count; ++i)
    printf("  output[%u] may be the buffer of input[%u]\n",
           signature.aliases[i].output, signature.aliases[i].input);
}

void marver::printSignatures(const LoadedModule &loaded, bool all) {
  if (!all) {
    printSignature(*loaded.signature, loaded.function,
                   loaded.sidecar.findEntry(loaded.function));
    return;
  }
  mv_module_info info;
  mv_module_query(loaded.module.get(), &info);
  for (uint32_t i = 0; i < info.entry_count; ++i) {
    uint64_t hash;
    const mv_signature *signature =
        mv_module_signature_at(loaded.module.get(), i, &hash);
    char number[32];
    snprintf(number, sizeof(number), "#%016" PRIx64, hash);
    std::string name = hash == mv_name_hash("main", 4) ? "main" : number;
    const Sidecar::Entry *names = nullptr;
    for (const Sidecar::Entry &entry : loaded.sidecar.entries)
      if (mv_name_hash(entry.name.data(), entry.name.size()) == hash) {
        names = &entry;
        name = entry.name;
      }
    printSignature(*signature, name, names);
  }
}

//===----------------------------------------------------------------------===//
// Runs
//===----------------------------------------------------------------------===//

PoolPtr marver::createPool(int threads) {
  mv_pool *pool;
  mv_error error = {};
  if (mv_pool_create(threads, &pool, &error) != MV_OK)
    printError(error.message);
  return PoolPtr(pool);
}

SessionPtr marver::createSession(const LoadedModule &loaded, mv_pool *pool,
                                 const std::vector<Tensor> &inputs) {
  mv_session *session;
  mv_error error = {};
  if (mv_session_create(loaded.module.get(), loaded.function.c_str(), pool,
                        &session, &error) != MV_OK) {
    printError(error.message);
    return nullptr;
  }
  SessionPtr owner(session);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (mv_session_set_input(session, static_cast<uint32_t>(i),
                             inputs[i].dims.data(), inputs[i].data(),
                             inputs[i].bytes()) != MV_OK) {
      printError(mv_session_message(session));
      return nullptr;
    }
  return owner;
}

std::vector<uint32_t> marver::bindAliases(const LoadedModule &loaded,
                                          mv_session *session,
                                          const std::vector<Tensor> &inputs) {
  std::vector<uint32_t> changed;
  std::vector<bool> bound(loaded.signature->output_count);
  for (uint32_t i = 0; i < loaded.signature->alias_count; ++i) {
    auto [input, output] = loaded.signature->aliases[i];
    size_t bytes;
    // One buffer for one pair, where both have the same size.
    bool taken = bound[output];
    for (uint32_t other : changed)
      taken |= other == input;
    if (taken || mv_session_output_bytes(session, output, &bytes) != MV_OK ||
        bytes != inputs[input].bytes() || bytes == 0)
      continue;
    if (mv_session_set_output(session, output, inputs[input].data(), bytes) ==
        MV_OK) {
      changed.push_back(input);
      bound[output] = true;
    }
  }
  return changed;
}

bool marver::invoke(const LoadedModule &loaded, mv_session *session) {
  if (mv_session_invoke(session) == MV_OK)
    return true;
  std::string message = mv_session_message(session);
  int code;
  int64_t place;
  mv_session_failure(session, &code, &place);
  std::string text = code ? loaded.sidecar.placeText(place) : "";
  if (!text.empty())
    message += ": " + text;
  printError(loaded.function + ": " + message);
  return false;
}

void marver::printStatistics(const LoadedModule &loaded,
                             const mv_session *session) {
  mv_module_info info;
  mv_module_query(loaded.module.get(), &info);
  mv_statistics statistics;
  mv_session_statistics(session, &statistics);
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  auto line = [](const char *name, uint64_t value) {
    fprintf(stderr, "  %-28s %14" PRIu64 "\n", name, value);
  };
  fprintf(stderr, "module\n");
  line("file bytes", info.file_bytes);
  line("code bytes", info.code_bytes);
  line("constant bytes", info.constant_bytes);
  line("prepared bytes", info.prepared_bytes);
  line("kernels", info.kernel_count);
  line("load us", info.load_ns / 1000);
  line("of these preparing us", info.prepare_ns / 1000);
  fprintf(stderr, "session\n");
  line("invokes", statistics.invokes);
  line("kernel launches", statistics.launches);
  line("allocations", statistics.allocations);
  line("arena bytes", statistics.arena_bytes);
  const Sidecar::Entry *entry = loaded.sidecar.findEntry(loaded.function);
  if (entry && entry->arenaBound >= 0)
    line("arena lower bound", static_cast<uint64_t>(entry->arenaBound));
  line("scratch bytes", statistics.scratch_bytes);
  line("output bytes", statistics.output_bytes);
  line("grown bytes", statistics.grown_bytes);
  if (loaded.signature->state_count > 0)
    line("state bytes", statistics.state_bytes);
  line("output copies", statistics.copies);
  line("copied bytes", statistics.copied_bytes);
  fprintf(stderr, "process\n");
#if defined(__APPLE__)
  line("peak memory kB", static_cast<uint64_t>(usage.ru_maxrss) / 1024);
#else
  line("peak memory kB", static_cast<uint64_t>(usage.ru_maxrss));
#endif
}
