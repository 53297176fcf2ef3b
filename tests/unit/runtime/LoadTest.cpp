//===- LoadTest.cpp - Loading modules -------------------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Harness.h"

#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <sodium.h>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace marver;

namespace {

/// A file with the test module, removed at the end.
class ModuleFile {
public:
  ModuleFile() {
    path = testing::TempDir() + "marver-load-test-" + std::to_string(getpid()) +
           ".mv";
    FILE *file = fopen(path.c_str(), "wb");
    fwrite(testBytes().data(), 1, testBytes().size(), file);
    fclose(file);
  }
  ~ModuleFile() { remove(path.c_str()); }
  std::string path;
};

} // namespace

/// Runs `main` and compares with what image.c computes.
static void expectWorks(mv_module *module) {
  SessionPtr session = makeSession(module, "main");
  std::vector<float> in = {1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_EQ(setInput(session, 0, in, {8}), MV_OK);
  ASSERT_EQ(mv_session_invoke(session.get()), MV_OK);
  std::vector<float> out = output<float>(session, 0);
  ASSERT_EQ(out.size(), 8u);
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(out[i], 2 * in[i] + 0.25f * static_cast<float>(i));
}

TEST(Load, FromFile) {
  ModuleFile file;
  mv_module *module;
  mv_error error = {};
  mv_load_options options = {};
  options.flags = MV_LOAD_VERIFY_CONSTANTS;
  ASSERT_EQ(mv_module_load_file(file.path.c_str(), &options, &module, &error),
            MV_OK)
      << error.message;
  ModulePtr owner(module);
  expectWorks(module);

  mv_module_info info;
  mv_module_query(module, &info);
  EXPECT_EQ(info.file_bytes, testBytes().size());
  EXPECT_EQ(info.constant_bytes, testConstants().size() * sizeof(float));
  EXPECT_EQ(info.kernel_count, 6u);
  EXPECT_EQ(info.prepared_bytes, 32u);
  EXPECT_GT(info.load_ns, 0u);
}

/// What /proc/self/maps says of each mapping.
struct Mapping {
  std::string permissions, path;
};
static std::vector<Mapping> mappings() {
  std::vector<Mapping> result;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::string range, offset, device, inode;
    Mapping mapping;
    words >> range >> mapping.permissions >> offset >> device >> inode >>
        mapping.path;
    result.push_back(mapping);
  }
  return result;
}

TEST(Load, NoPageIsWritableAndExecutable) {
  size_t executable = 0;
  for (const Mapping &mapping : mappings())
    executable += mapping.permissions[2] == 'x';
  ModuleFile file;
  mv_module *module;
  ASSERT_EQ(mv_module_load_file(file.path.c_str(), nullptr, &module, nullptr),
            MV_OK);
  ModulePtr owner(module);
  expectWorks(module);

  size_t ofFile = 0;
  for (const Mapping &mapping : mappings()) {
    EXPECT_FALSE(mapping.permissions[1] == 'w' && mapping.permissions[2] == 'x')
        << mapping.path;
    executable -= mapping.permissions[2] == 'x';
    if (mapping.path == file.path) {
      // Shared by all processes that map the file, and of no use as code.
      EXPECT_EQ(mapping.permissions, "r--s");
      ++ofFile;
    }
  }
  EXPECT_EQ(ofFile, 1u) << "the constants are not mapped";
  EXPECT_EQ(executable, size_t(-1)) << "the code is not in pages of its own";
}

TEST(Load, FromMemoryOfAnyAlignment) {
  ModulePtr aligned = loadTestModule();
  expectWorks(aligned.get());

  std::vector<uint8_t> shifted(testBytes().size() + 1);
  memcpy(shifted.data() + 1, testBytes().data(), testBytes().size());
  mv_module *module;
  ASSERT_EQ(mv_module_load_memory(shifted.data() + 1, testBytes().size(),
                                  nullptr, &module, nullptr),
            MV_OK);
  ModulePtr owner(module);
  expectWorks(module);
}

TEST(Load, FromPipe) {
  std::string path = testing::TempDir() + "marver-load-test-" +
                     std::to_string(getpid()) + ".fifo";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] {
    int fd = open(path.c_str(), O_WRONLY);
    for (size_t done = 0; done < testBytes().size();) {
      ssize_t part =
          write(fd, testBytes().data() + done, testBytes().size() - done);
      if (part <= 0)
        break;
      done += static_cast<size_t>(part);
    }
    close(fd);
  });
  mv_module *module = nullptr;
  mv_error error = {};
  EXPECT_EQ(mv_module_load_file(path.c_str(), nullptr, &module, &error), MV_OK)
      << error.message;
  writer.join();
  remove(path.c_str());
  ModulePtr owner(module);
  ASSERT_NE(module, nullptr);
  expectWorks(module);
}

TEST(Load, ReplacedFileKeepsItsConstants) {
  ModuleFile file;
  mv_module *module;
  ASSERT_EQ(mv_module_load_file(file.path.c_str(), nullptr, &module, nullptr),
            MV_OK);
  ModulePtr owner(module);
  remove(file.path.c_str());
  expectWorks(module);
}

TEST(Load, MissingFileAndDirectory) {
  mv_module *module;
  mv_error error = {};
  EXPECT_EQ(mv_module_load_file("/no/such/file", nullptr, &module, &error),
            MV_IO_ERROR);
  EXPECT_STREQ(error.message, "No such file or directory");
  EXPECT_EQ(module, nullptr);
  EXPECT_EQ(mv_module_load_file("/", nullptr, &module, &error), MV_IO_ERROR);
}

TEST(Load, WithPublicKey) {
  unsigned char publicKey[32], secretKey[64], otherKey[32], unused[64];
  ASSERT_GE(sodium_init(), 0);
  crypto_sign_keypair(publicKey, secretKey);
  crypto_sign_keypair(otherKey, unused);
  AlignedBytes bytes(moduleBytes(testContents(MARVER_TEST_IMAGE)));
  auto load = [&](const unsigned char *key) {
    mv_load_options options = {};
    options.public_key = key;
    mv_module *module;
    mv_status status = mv_module_load_memory(bytes.data(), bytes.size(),
                                             &options, &module, nullptr);
    mv_module_release(module);
    return status;
  };
  EXPECT_EQ(load(publicKey), MV_SIGNATURE_INVALID);

  // Signed in place.
  auto *header = reinterpret_cast<mv_file_header *>(bytes.data());
  auto *section = reinterpret_cast<mv_file_section *>(bytes.data() + 64) +
                  MV_SECTION_SIGNATURE;
  auto *signature =
      reinterpret_cast<mv_file_signature *>(bytes.data() + section->offset);
  signature->algorithm = MV_SIGNATURE_ED25519;
  memcpy(signature->public_key, publicKey, sizeof(publicKey));
  crypto_sign_detached(signature->signature, nullptr, header->root_hash,
                       MV_HASH_SIZE, secretKey);
  EXPECT_EQ(load(publicKey), MV_OK);
  EXPECT_EQ(load(nullptr), MV_OK);
  EXPECT_EQ(load(otherKey), MV_SIGNATURE_INVALID);
  // A key that says it is the right one.
  memcpy(signature->public_key, otherKey, sizeof(otherKey));
  EXPECT_EQ(load(otherKey), MV_SIGNATURE_INVALID);
  memcpy(signature->public_key, publicKey, sizeof(publicKey));
  signature->signature[7] ^= 1;
  EXPECT_EQ(load(publicKey), MV_SIGNATURE_INVALID);
  signature->signature[7] ^= 1;
  // With a key the constants are checked as well.
  bytes.data()[bytes.size() - 1] ^= 1;
  EXPECT_EQ(load(nullptr), MV_OK);
  EXPECT_EQ(load(publicKey), MV_INVALID_MODULE);
}

TEST(Load, MissingCpuFeature) {
  ModuleContents contents = testContents(MARVER_TEST_IMAGE);
  contents.cpuFeatures = uint64_t(1) << 63;
  AlignedBytes bytes(moduleBytes(contents));
  mv_module *module;
  mv_error error = {};
  EXPECT_EQ(mv_module_load_memory(bytes.data(), bytes.size(), nullptr, &module,
                                  &error),
            MV_CPU_UNSUPPORTED);
  EXPECT_NE(strstr(error.message, "needs unknown feature 63"), nullptr)
      << error.message;
}

TEST(Load, OtherArchitecture) {
  ModuleContents contents = testContents(MARVER_TEST_IMAGE);
  contents.arch =
      contents.arch == MV_ARCH_X86_64 ? MV_ARCH_AARCH64 : MV_ARCH_X86_64;
  AlignedBytes bytes(moduleBytes(contents));
  mv_module *module;
  mv_error error = {};
  EXPECT_EQ(mv_module_load_memory(bytes.data(), bytes.size(), nullptr, &module,
                                  &error),
            MV_CPU_UNSUPPORTED);
  EXPECT_NE(strstr(error.message, "the module is for"), nullptr);
}

TEST(Load, Signature) {
  ModulePtr module = loadTestModule();
  EXPECT_EQ(mv_module_signature(module.get(), "nothing"), nullptr);
  const mv_signature *add = mv_module_signature(module.get(), "add");
  ASSERT_NE(add, nullptr);
  ASSERT_EQ(add->input_count, 2u);
  ASSERT_EQ(add->output_count, 1u);
  EXPECT_EQ(add->inputs[1].dtype, MV_DTYPE_F32);
  ASSERT_EQ(add->inputs[1].rank, 2);
  EXPECT_EQ(add->inputs[1].dims[0], MV_DIM_SYMBOL(0));
  EXPECT_EQ(add->inputs[1].dims[1], 4);
  ASSERT_EQ(add->symbol_count, 1u);
  EXPECT_EQ(add->symbols[0].min, 1);
  EXPECT_EQ(add->symbols[0].max, 1000);
  const mv_signature *update = mv_module_signature(module.get(), "update");
  ASSERT_EQ(update->alias_count, 1u);

  mv_module_info info;
  mv_module_query(module.get(), &info);
  EXPECT_EQ(info.entry_count, testContents(MARVER_TEST_IMAGE).entries.size());
  uint64_t hash;
  bool found = false;
  for (uint32_t i = 0; i < info.entry_count; ++i)
    found |= mv_module_signature_at(module.get(), i, &hash) == add &&
             hash == mv_name_hash("add", 3);
  EXPECT_TRUE(found);
  EXPECT_EQ(mv_module_signature_at(module.get(), info.entry_count, nullptr),
            nullptr);
}

TEST(Load, SameContentsSameBytes) {
  EXPECT_EQ(moduleBytes(testContents(MARVER_TEST_IMAGE)),
            moduleBytes(testContents(MARVER_TEST_IMAGE)));
}

TEST(Load, WriterRefusesNonsense) {
  auto refused = [](void (*spoil)(ModuleContents &)) {
    ModuleContents contents = testContents(MARVER_TEST_IMAGE);
    spoil(contents);
    std::vector<uint8_t> bytes;
    BuildId buildId;
    std::string error;
    bool written = writeModule(contents, bytes, buildId, error);
    return !written && !error.empty() && bytes.empty();
  };
  EXPECT_TRUE(refused([](ModuleContents &c) { c.arch = 9; }));
  EXPECT_TRUE(refused([](ModuleContents &c) { c.entries.clear(); }));
  EXPECT_TRUE(refused([](ModuleContents &c) { c.textBytes = 1 << 30; }));
  EXPECT_TRUE(refused(
      [](ModuleContents &c) { c.entries.push_back(c.entries.front()); }));
  EXPECT_TRUE(refused([](ModuleContents &c) { c.constantsSize = 5; }));
  EXPECT_TRUE(refused([](ModuleContents &c) { c.constants[0].offset = 8; }));
  EXPECT_TRUE(
      refused([](ModuleContents &c) { c.prepareOffset = MV_NO_FUNCTION; }));
  EXPECT_TRUE(refused([](ModuleContents &c) {
    c.entries[0].interface.inputs[0].dims = {MV_DIM_DATA_DEPENDENT};
  }));
  EXPECT_TRUE(refused([](ModuleContents &c) {
    c.entries[0].interface.outputs[0].dims = {MV_DIM_SYMBOL(0)};
  }));
}
