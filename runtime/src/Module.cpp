//===- Module.cpp - Loads a module ----------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The order is that of trust: tables are copied and checked, then the code is
// copied and hashed where it will run, and only then made executable. Nothing
// that was checked is read from the file again, so that a file that changes
// meanwhile changes nothing; the constants stay mapped and are data only.
//
//===----------------------------------------------------------------------===//

#include "Module.h"

#include "Blake2b.h"
#include "Cpu.h"
#include "Error.h"
#include "Signature.h"
#include "ThreadPool.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace marver;

namespace {

/// Where the bytes of a module come from: a file or memory.
struct Source {
  int fd = -1;
  const uint8_t *memory = nullptr;
  uint64_t size = 0;

  /// Copies `count` bytes, which must be inside.
  bool read(uint64_t offset, void *target, uint64_t count) const {
    if (count == 0)
      return true;
    if (memory) {
      memcpy(target, memory + offset, count);
      return true;
    }
    auto *bytes = static_cast<uint8_t *>(target);
    while (count > 0) {
      ssize_t done = pread(fd, bytes, count, static_cast<off_t>(offset));
      if (done < 0 && errno == EINTR)
        continue;
      if (done <= 0)
        return false;
      bytes += done;
      offset += static_cast<uint64_t>(done);
      count -= static_cast<uint64_t>(done);
    }
    return true;
  }
};

class Loader {
public:
  Loader(mv_module *module, const Source &source,
         const mv_load_options &options, mv_error *error)
      : module(module), source(source), options(options), error(error) {}

  mv_status load();

private:
  mv_status loadTables();
  mv_status checkCpu();
  mv_status loadCode();
  mv_status loadConstants();
  mv_status buildSignatures();
  mv_status prepare();

  const mv_file_section &section(int kind) const {
    return module->tables.sections[kind];
  }
  mv_status noMemory() { return fail(error, MV_NO_MEMORY, "out of memory"); }
  mv_status unreadable() {
    return fail(error, MV_IO_ERROR, "the module changed while it was read");
  }

  mv_module *module;
  const Source &source;
  const mv_load_options &options;
  mv_error *error;
};

} // namespace

mv_status Loader::load() {
  if (mv_status status = loadTables())
    return status;
  if (options.public_key)
    if (mv_status status =
            checkSignature(module->tables, options.public_key, error))
      return status;
  if (mv_status status = checkCpu())
    return status;
  if (mv_status status = loadConstants())
    return status;
  if (mv_status status = loadCode())
    return status;
  if (mv_status status = buildSignatures())
    return status;
  return prepare();
}

mv_status Loader::loadTables() {
  uint8_t start[kSectionsEnd];
  size_t startSize = source.size < sizeof(start) ? source.size : sizeof(start);
  if (!source.read(0, start, startSize))
    return unreadable();
  if (mv_status status = readSections(start, startSize, source.size, error))
    return status;

  mv_file_section code;
  memcpy(&code, start + sizeof(mv_file_header) + MV_SECTION_CODE * sizeof(code),
         sizeof(code));
  module->front = static_cast<uint8_t *>(malloc(code.offset));
  if (!module->front)
    return noMemory();
  // The start is the one that was checked, whatever the file holds by now.
  memcpy(module->front, start, sizeof(start));
  if (!source.read(sizeof(start), module->front + sizeof(start),
                   code.offset - sizeof(start)))
    return unreadable();
  return readTables(module->front, module->tables, error);
}

mv_status Loader::checkCpu() {
  const mv_file_header &header = *module->tables.header;
  if (header.arch != hostArch())
    return fail(error, MV_CPU_UNSUPPORTED,
                "the module is for %s, this CPU is %s", archName(header.arch),
                archName(hostArch()) ? archName(hostArch()) : "another");
  uint64_t missing =
      header.cpu_features & ~hostCpuFeatures(header.cpu_features);
  if (missing == 0)
    return MV_OK;
  char names[300];
  describeCpuFeatures(header.arch, missing, names, sizeof(names));
  return fail(error, MV_CPU_UNSUPPORTED,
              "the module needs %s, which this CPU lacks; compile it for an "
              "older --target-cpu",
              names);
}

mv_status Loader::loadCode() {
  const mv_file_section &code = section(MV_SECTION_CODE);
  auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t bytes = alignTo(code.size, page);
  void *pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED)
    return noMemory();
  module->code = static_cast<uint8_t *>(pages);
  module->codeBytes = bytes;
  if (!source.read(code.offset, pages, code.size))
    return unreadable();
  // Hashed in place and with no write access left, not even for other threads.
  if (mprotect(pages, bytes, PROT_READ) != 0)
    return noMemory();
  uint8_t digest[MV_HASH_SIZE];
  Blake2b::hash(pages, code.size, digest);
  if (memcmp(digest, module->tables.info->code_hash, sizeof(digest)) != 0)
    return fail(error, MV_INVALID_MODULE,
                "damaged module: the hash of its code does not match");
  if (mprotect(pages, bytes, PROT_READ | PROT_EXEC) != 0)
    return fail(error, MV_IO_ERROR, "the system refuses executable memory: %s",
                strerror(errno));
  __builtin___clear_cache(static_cast<char *>(pages),
                          static_cast<char *>(pages) + code.size);
  return MV_OK;
}

mv_status Loader::loadConstants() {
  const mv_file_section &code = section(MV_SECTION_CODE);
  const mv_file_section &constants = section(MV_SECTION_CONSTANTS);

  // The gap in front of them belongs to no hash; it is less than 64 kB.
  uint64_t gapStart = code.offset + code.size;
  uint64_t gapSize = constants.offset - gapStart;
  uint8_t piece[1024];
  for (uint64_t done = 0; done < gapSize;) {
    uint64_t part =
        gapSize - done < sizeof(piece) ? gapSize - done : sizeof(piece);
    if (!source.read(gapStart + done, piece, part))
      return unreadable();
    for (uint64_t i = 0; i < part; ++i)
      if (piece[i] != 0)
        return fail(error, MV_INVALID_MODULE,
                    "damaged module: padding is not zero");
    done += part;
  }

  auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (constants.size == 0) {
    module->constants = module->front;
  } else if (source.fd < 0 &&
             reinterpret_cast<uintptr_t>(source.memory + constants.offset) %
                     MV_ALIGNMENT ==
                 0) {
    module->constants = source.memory + constants.offset;
  } else if (source.fd >= 0 && constants.offset % page == 0) {
    void *mapping = mmap(nullptr, constants.size, PROT_READ, MAP_SHARED,
                         source.fd, static_cast<off_t>(constants.offset));
    if (mapping == MAP_FAILED)
      return fail(error, MV_IO_ERROR, "cannot map the constants: %s",
                  strerror(errno));
    // The first run reads all of them, roughly in order.
    madvise(mapping, constants.size, MADV_WILLNEED);
    module->mapping = mapping;
    module->mappedBytes = constants.size;
    module->constants = static_cast<const uint8_t *>(mapping);
  } else {
    uint64_t allocated = 0;
    if (!module->constantsCopy.reserve(constants.size, allocated))
      return noMemory();
    if (!source.read(constants.offset, module->constantsCopy.data(),
                     constants.size))
      return unreadable();
    module->constants = module->constantsCopy.data();
  }

  bool verify =
      (options.flags & MV_LOAD_VERIFY_CONSTANTS) || options.public_key;
  if (verify && !constantsMatch(module->tables, module->constants))
    return fail(error, MV_INVALID_MODULE,
                "damaged module: a hash of its constants does not match");
  return MV_OK;
}

mv_status Loader::buildSignatures() {
  const ModuleTables &tables = module->tables;
  module->signatures = static_cast<mv_signature *>(
      calloc(tables.interfaceCount + 1, sizeof(mv_signature)));
  module->types = static_cast<mv_tensor_type *>(
      calloc(tables.tensorCount + 1, sizeof(mv_tensor_type)));
  if (!module->signatures || !module->types)
    return noMemory();

  const int64_t *dims = tables.dims;
  for (uint32_t i = 0; i < tables.tensorCount; ++i) {
    module->types[i] = {tables.tensors[i].dtype, tables.tensors[i].rank, dims};
    dims += tables.tensors[i].rank;
  }
  const mv_tensor_type *types = module->types;
  const mv_file_symbol *symbols = tables.symbols;
  const mv_file_alias *aliases = tables.aliases;
  const mv_file_state *states = tables.states;
  for (uint32_t i = 0; i < tables.interfaceCount; ++i) {
    const mv_file_interface &interface = tables.interfaces[i];
    mv_signature &signature = module->signatures[i];
    signature.input_count = interface.input_count;
    signature.output_count = interface.output_count;
    signature.symbol_count = interface.symbol_count;
    signature.alias_count = interface.alias_count;
    signature.state_count = interface.state_count;
    signature.inputs = types;
    types += interface.input_count;
    signature.outputs = types;
    types += interface.output_count;
    signature.symbols = symbols;
    symbols += interface.symbol_count;
    signature.aliases = aliases;
    aliases += interface.alias_count;
    signature.states = types;
    types += interface.state_count;
    signature.state_records = states;
    states += interface.state_count;
  }
  return MV_OK;
}

//===----------------------------------------------------------------------===//
// What a module makes once per load
//===----------------------------------------------------------------------===//

namespace {

/// The call of a prepare function. Its services know it by its first member.
struct PrepareCall {
  mv_call call;
  mv_pool *pool;
  Block scratch;
  uint64_t scratchStride;
};

} // namespace

static void prepareParallelFor(mv_call *call, mv_kernel_fn kernel,
                               const int64_t *slots, int64_t extent,
                               int64_t number) {
  if (extent <= 0)
    return;
  auto *prepare = reinterpret_cast<PrepareCall *>(call);
  Launch launch{kernel,
                slots,
                extent,
                prepare->scratch.data(),
                prepare->scratchStride,
                mv_pool_threads(prepare->pool),
                /*busy=*/nullptr};
  runLaunch(prepare->pool, launch);
}

static void *prepareGrow(mv_call *, int64_t) { return nullptr; }
static void prepareSweep(mv_call *, int64_t, void *const *, int64_t) {}

mv_status Loader::prepare() {
  const mv_file_info &info = *module->tables.info;
  if (info.prepare_offset == MV_NO_FUNCTION)
    return MV_OK;
  uint64_t start = now(), allocated = 0;
  if (!module->prepared.reserve(info.prepared_bytes, allocated))
    return fail(error, MV_NO_MEMORY, "no memory for %llu bytes of weights",
                static_cast<unsigned long long>(info.prepared_bytes));
  if (info.prepared_bytes > 0)
    memset(module->prepared.data(), 0, info.prepared_bytes);

  static const mv_services services = {prepareParallelFor, prepareGrow,
                                       prepareSweep};
  PrepareCall prepare = {};
  prepare.pool = options.pool;
  prepare.scratchStride = alignTo(info.prepare_scratch_bytes, 2 * MV_ALIGNMENT);
  uint64_t threads = static_cast<uint64_t>(mv_pool_threads(options.pool));
  if (info.prepare_scratch_bytes > uint64_t(1) << 40 ||
      !prepare.scratch.reserve(prepare.scratchStride * threads, allocated))
    return noMemory();
  prepare.call.services = &services;
  prepare.call.trips_left = INT64_MAX;
  prepare.call.constants = module->constants;
  prepare.call.prepared = module->prepared.data();
  auto function =
      reinterpret_cast<mv_prepare_fn>(module->code + info.prepare_offset);
  int64_t result;
  {
    RunScope running(options.pool);
    result = function(&prepare.call);
  }
  prepare.scratch.release();
  if (result == 0)
    result = prepare.call.status;
  if (result != 0)
    return fail(error, MV_RUN_FAILED,
                "preparing the module failed with code %lld at place %lld",
                static_cast<long long>(result & 0xff),
                static_cast<long long>(result >> 8));
  module->info.prepare_ns = now() - start;
  return MV_OK;
}

//===----------------------------------------------------------------------===//
// The API
//===----------------------------------------------------------------------===//

static void destroy(mv_module *module) {
  if (module->code)
    munmap(module->code, module->codeBytes);
  if (module->mapping)
    munmap(module->mapping, module->mappedBytes);
  module->constantsCopy.release();
  module->prepared.release();
  module->file.release();
  free(module->signatures);
  free(module->types);
  free(module->front);
  free(module);
}

static mv_module *create() {
  void *memory = calloc(1, sizeof(mv_module));
  if (!memory)
    return nullptr;
  auto *module = new (memory) mv_module{};
  module->references = 1;
  return module;
}

/// Loads from `source` into `module`, which is released on a failure.
static mv_status load(mv_module *module, const Source &source,
                      const mv_load_options *options, uint64_t start,
                      mv_module **result, mv_error *error) {
  static const mv_load_options defaults = {};
  mv_status status =
      Loader(module, source, options ? *options : defaults, error).load();
  if (status != MV_OK) {
    destroy(module);
    return status;
  }
  const ModuleTables &tables = module->tables;
  mv_module_info &info = module->info;
  memcpy(info.build_id, tables.header->root_hash, sizeof(info.build_id));
  info.entry_count = tables.entryCount;
  info.kernel_count = tables.info->kernel_count;
  info.file_bytes = source.size;
  info.code_bytes = tables.sections[MV_SECTION_CODE].size;
  info.constant_bytes = tables.sections[MV_SECTION_CONSTANTS].size;
  info.prepared_bytes = tables.info->prepared_bytes;
  info.cpu_features = tables.header->cpu_features;
  info.load_ns = now() - start;
  *result = module;
  return MV_OK;
}

/// Reads what cannot be mapped, a pipe for instance, to its end.
static mv_status readAll(int fd, Block &file, uint64_t &size, mv_error *error) {
  uint64_t allocated = 0;
  size = 0;
  for (;;) {
    if (size == file.size()) {
      Block larger = {};
      if (!larger.reserve(size == 0 ? 1 << 20 : 2 * size, allocated))
        return fail(error, MV_NO_MEMORY, "out of memory");
      if (size > 0)
        memcpy(larger.data(), file.data(), size);
      file.release();
      file = larger;
    }
    ssize_t done = read(fd, file.data() + size, file.size() - size);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return fail(error, MV_IO_ERROR, "cannot read: %s", strerror(errno));
    if (done == 0)
      return MV_OK;
    size += static_cast<uint64_t>(done);
  }
}

mv_status mv_module_load_file(const char *path, const mv_load_options *options,
                              mv_module **result, mv_error *error) {
  if (!path || !result)
    return fail(error, MV_INVALID_ARGUMENT,
                "no path, or no place for a module");
  *result = nullptr;
  uint64_t start = now();
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) {
    int reason = errno;
    if (fd >= 0)
      close(fd);
    return fail(error, MV_IO_ERROR, "%s", strerror(reason));
  }
  mv_module *module = create();
  mv_status status = MV_OK;
  Source source;
  if (!module) {
    status = fail(error, MV_NO_MEMORY, "out of memory");
  } else if (S_ISREG(info.st_mode)) {
    source.fd = fd;
    source.size = static_cast<uint64_t>(info.st_size);
  } else {
    status = readAll(fd, module->file, source.size, error);
    source.memory = module->file.data();
    if (status != MV_OK)
      destroy(module);
  }
  if (status == MV_OK)
    status = load(module, source, options, start, result, error);
  close(fd);
  return status;
}

mv_status mv_module_load_memory(const void *data, size_t size,
                                const mv_load_options *options,
                                mv_module **result, mv_error *error) {
  if ((!data && size > 0) || !result)
    return fail(error, MV_INVALID_ARGUMENT,
                "no data, or no place for a module");
  *result = nullptr;
  uint64_t start = now();
  mv_module *module = create();
  if (!module)
    return fail(error, MV_NO_MEMORY, "out of memory");
  Source source;
  source.memory = static_cast<const uint8_t *>(data);
  source.size = size;
  return load(module, source, options, start, result, error);
}

void marver::retain(mv_module *module) {
  module->references.fetch_add(1, std::memory_order_relaxed);
}

void mv_module_release(mv_module *module) {
  if (module && module->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    destroy(module);
}

void mv_module_query(const mv_module *module, mv_module_info *info) {
  *info = module->info;
}

const mv_file_entry *marver::findEntry(const mv_module *module,
                                       const char *name) {
  uint64_t hash = mv_name_hash(name, strlen(name));
  for (uint32_t i = 0; i < module->tables.entryCount; ++i)
    if (module->tables.entries[i].name_hash == hash)
      return &module->tables.entries[i];
  return nullptr;
}

const mv_signature *mv_module_signature(const mv_module *module,
                                        const char *name) {
  const mv_file_entry *entry = name ? findEntry(module, name) : nullptr;
  return entry ? &module->signatures[entry->interface] : nullptr;
}

const mv_signature *mv_module_signature_at(const mv_module *module,
                                           uint32_t index,
                                           uint64_t *name_hash) {
  if (index >= module->tables.entryCount)
    return nullptr;
  const mv_file_entry &entry = module->tables.entries[index];
  if (name_hash)
    *name_hash = entry.name_hash;
  return &module->signatures[entry.interface];
}
