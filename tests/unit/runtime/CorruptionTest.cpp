//===- CorruptionTest.cpp - Damaged and hostile modules -------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two kinds: bytes that changed by accident, which the hashes find, and bytes
// that someone changed and hashed again, which only the checks of each value
// can find.
//
//===----------------------------------------------------------------------===//

#include "Harness.h"
#include "runtime/src/Blake2b.h"

#include <functional>

using namespace marver;

namespace {

/// A small module: without the large constants, so that all bytes can be tried.
const std::vector<uint8_t> &smallModule() {
  static const std::vector<uint8_t> bytes = [] {
    ModuleContents contents = testContents(MARVER_TEST_IMAGE);
    contents.constants[0].size = contents.constantsSize = 64;
    return moduleBytes(contents);
  }();
  return bytes;
}

/// A module whose parts can be changed and whose hashes then are made to match.
struct Editor {
  std::vector<uint8_t> bytes = smallModule();

  template <typename T> T *at(uint64_t offset) {
    return reinterpret_cast<T *>(bytes.data() + offset);
  }
  mv_file_header &header() { return *at<mv_file_header>(0); }
  mv_file_section &section(int kind) {
    return at<mv_file_section>(sizeof(mv_file_header))[kind];
  }
  template <typename T> T *table(int kind) {
    return at<T>(section(kind).offset);
  }
  mv_file_info &info() { return *table<mv_file_info>(MV_SECTION_INFO); }

  void hashAgain() {
    uint64_t end = section(MV_SECTION_SIGNATURE).offset;
    if (end > bytes.size() || end < sizeof(mv_file_header))
      return;
    Blake2b blake;
    blake.update(bytes.data(), offsetof(mv_file_header, root_hash));
    blake.update(bytes.data() + sizeof(mv_file_header),
                 end - sizeof(mv_file_header));
    blake.final(header().root_hash);
  }
};

} // namespace

static mv_status load(const std::vector<uint8_t> &bytes,
                      std::string *message = nullptr, uint32_t flags = 0) {
  AlignedBytes aligned(bytes);
  mv_module *module = nullptr;
  mv_error error = {};
  mv_load_options options = {};
  options.flags = flags;
  mv_status status = mv_module_load_memory(aligned.data(), aligned.size(),
                                           &options, &module, &error);
  mv_module_release(module);
  EXPECT_EQ(status == MV_OK, module != nullptr);
  if (status != MV_OK) {
    EXPECT_EQ(error.status, status);
    EXPECT_NE(error.message[0], '\0');
  }
  if (message)
    *message = error.message;
  return status;
}

TEST(Corruption, TheSmallModuleIsFine) {
  EXPECT_EQ(load(smallModule(), nullptr, MV_LOAD_VERIFY_CONSTANTS), MV_OK);
  Editor editor;
  editor.hashAgain();
  EXPECT_EQ(editor.bytes, smallModule());
}

TEST(Corruption, EveryByteMatters) {
  Editor original;
  uint64_t end = original.section(MV_SECTION_CODE).offset +
                 original.section(MV_SECTION_CODE).size;
  uint64_t signature = original.section(MV_SECTION_SIGNATURE).offset;
  AlignedBytes aligned(smallModule());
  for (uint64_t i = 0; i < aligned.size(); ++i) {
    // Padding in front of code and constants is long and all alike.
    bool padding =
        (i > signature + sizeof(mv_file_signature) &&
         i + 1 < original.section(MV_SECTION_CODE).offset) ||
        (i > end && i + 1 < original.section(MV_SECTION_CONSTANTS).offset);
    if (padding && i % 997 != 0)
      continue;
    aligned.data()[i] ^= static_cast<uint8_t>(1u << i % 8);
    mv_module *module = nullptr;
    mv_load_options options = {};
    options.flags = MV_LOAD_VERIFY_CONSTANTS;
    mv_status status = mv_module_load_memory(aligned.data(), aligned.size(),
                                             &options, &module, nullptr);
    // The first bit of the signing block says that there is a signature, which
    // only matters to who has a key.
    EXPECT_TRUE(status == MV_INVALID_MODULE || status == MV_VERSION_MISMATCH ||
                (i == signature && status == MV_OK))
        << "byte " << i << ": " << status;
    mv_module_release(module);
    aligned.data()[i] = smallModule()[i];
  }
}

TEST(Corruption, TruncatedAnywhere) {
  Editor editor;
  std::vector<uint64_t> lengths = {0, 1, 4, 8, 9, 63, 64, 65};
  for (int kind = 0; kind < MV_SECTION_COUNT; ++kind)
    for (int step = -1; step <= 1; ++step) {
      const mv_file_section &section = editor.section(kind);
      lengths.push_back(section.offset + static_cast<uint64_t>(step));
      lengths.push_back(section.offset + section.size +
                        static_cast<uint64_t>(step));
    }
  for (uint64_t length : lengths) {
    if (length >= smallModule().size())
      continue;
    std::vector<uint8_t> bytes = smallModule();
    bytes.resize(length);
    EXPECT_EQ(load(bytes), MV_INVALID_MODULE) << "length " << length;
    // The same with a header that agrees.
    if (length >= sizeof(mv_file_header)) {
      reinterpret_cast<mv_file_header *>(bytes.data())->file_length = length;
      EXPECT_EQ(load(bytes), MV_INVALID_MODULE) << "length " << length;
    }
  }
  std::vector<uint8_t> longer = smallModule();
  longer.push_back(0);
  EXPECT_EQ(load(longer), MV_INVALID_MODULE);
}

TEST(Corruption, OtherFilesAreNamedSo) {
  std::string message;
  EXPECT_EQ(load({}, &message), MV_INVALID_MODULE);
  EXPECT_EQ(message, "not a marver module: it is empty");
  EXPECT_EQ(load({0x7f, 'E', 'L', 'F'}, &message), MV_INVALID_MODULE);
  EXPECT_EQ(message, "not a marver module");
}

TEST(Corruption, VersionsAreNamed) {
  std::string message;
  Editor editor;
  editor.header().format_version = 7;
  EXPECT_EQ(load(editor.bytes, &message), MV_VERSION_MISMATCH);
  EXPECT_NE(message.find("version 7"), std::string::npos) << message;
  EXPECT_NE(message.find("version 2"), std::string::npos) << message;
  editor = Editor();
  editor.header().abi_version = 9;
  EXPECT_EQ(load(editor.bytes, &message), MV_VERSION_MISMATCH);
  EXPECT_NE(message.find("ABI version 9"), std::string::npos) << message;
}

TEST(Corruption, FlippedConstantsAreFoundWhenAsked) {
  std::vector<uint8_t> bytes = smallModule();
  bytes.back() ^= 1;
  EXPECT_EQ(load(bytes), MV_OK);
  EXPECT_EQ(load(bytes, nullptr, MV_LOAD_VERIFY_CONSTANTS), MV_INVALID_MODULE);
}

/// Everything below has hashes that match.
TEST(Corruption, HostileValues) {
  using Edit = std::function<void(Editor &)>;
  const std::pair<const char *, Edit> edits[] = {
      {"arch", [](Editor &e) { e.header().arch = 3; }},
      {"section count", [](Editor &e) { e.header().section_count = 0xffff; }},
      {"file length", [](Editor &e) { e.header().file_length = ~0ull; }},
      {"kind", [](Editor &e) { e.section(3).kind = 4; }},
      {"alignment 0", [](Editor &e) { e.section(9).alignment = 0; }},
      {"alignment", [](Editor &e) { e.section(2).alignment = 16; }},
      {"offset beyond",
       [](Editor &e) { e.section(MV_SECTION_CODE).offset = 1ull << 62; }},
      {"offset below",
       [](Editor &e) { e.section(MV_SECTION_CODE).offset = 0; }},
      {"size wraps",
       [](Editor &e) { e.section(MV_SECTION_CODE).size = ~0ull - 8; }},
      {"size too large",
       [](Editor &e) { e.section(MV_SECTION_CONSTANTS).size += 1; }},
      {"overlap",
       [](Editor &e) {
         e.section(MV_SECTION_DIMS).offset =
             e.section(MV_SECTION_TENSORS).offset;
       }},
      {"gap", [](Editor &e) { e.section(MV_SECTION_ENTRIES).offset += 8; }},
      {"info size", [](Editor &e) { e.section(MV_SECTION_INFO).size -= 8; }},
      {"text too large", [](Editor &e) { e.info().text_bytes = ~0ull; }},
      {"no text", [](Editor &e) { e.info().text_bytes = 0; }},
      {"prepare outside",
       [](Editor &e) { e.info().prepare_offset = e.info().text_bytes; }},
      {"prepared without function",
       [](Editor &e) { e.info().prepare_offset = MV_NO_FUNCTION; }},
      {"kernel count", [](Editor &e) { e.info().kernel_count = ~0u; }},
      {"place count", [](Editor &e) { e.info().place_count = ~0u; }},
      {"chunk", [](Editor &e) { e.info().hash_chunk_log2 = 63; }},
      {"info reserved", [](Editor &e) { e.info().reserved = 1; }},
      {"code hash", [](Editor &e) { e.info().code_hash[31] ^= 1; }},
      {"run outside",
       [](Editor &e) {
         e.table<mv_file_entry>(MV_SECTION_ENTRIES)[1].run_offset = 1ull << 40;
       }},
      {"shape outside",
       [](Editor &e) {
         e.table<mv_file_entry>(MV_SECTION_ENTRIES)[1].shape_offset = ~0ull;
       }},
      {"interface index",
       [](Editor &e) {
         e.table<mv_file_entry>(MV_SECTION_ENTRIES)[0].interface = 1000;
       }},
      {"entry order",
       [](Editor &e) {
         e.table<mv_file_entry>(MV_SECTION_ENTRIES)[0].name_hash = ~0ull;
       }},
      {"entry reserved",
       [](Editor &e) {
         e.table<mv_file_entry>(MV_SECTION_ENTRIES)[0].reserved = 1;
       }},
      {"input count",
       [](Editor &e) {
         e.table<mv_file_interface>(MV_SECTION_INTERFACES)[0].input_count = ~0u;
       }},
      {"output count wraps",
       [](Editor &e) {
         auto *i = e.table<mv_file_interface>(MV_SECTION_INTERFACES);
         i->output_count = ~0u - i->input_count + 1;
       }},
      {"one output too many",
       [](Editor &e) {
         ++e.table<mv_file_interface>(MV_SECTION_INTERFACES)[0].output_count;
       }},
      {"symbol count",
       [](Editor &e) {
         e.table<mv_file_interface>(MV_SECTION_INTERFACES)[0].symbol_count =
             ~0u;
       }},
      {"alias count",
       [](Editor &e) {
         e.table<mv_file_interface>(MV_SECTION_INTERFACES)[0].alias_count = 99;
       }},
      {"dtype 0",
       [](Editor &e) {
         e.table<mv_file_tensor>(MV_SECTION_TENSORS)[0].dtype = 0;
       }},
      {"dtype 14",
       [](Editor &e) {
         e.table<mv_file_tensor>(MV_SECTION_TENSORS)[0].dtype = 14;
       }},
      {"rank",
       [](Editor &e) {
         e.table<mv_file_tensor>(MV_SECTION_TENSORS)[0].rank = 255;
       }},
      {"rank of the last",
       [](Editor &e) {
         auto *tensors = e.table<mv_file_tensor>(MV_SECTION_TENSORS);
         uint64_t count = e.section(MV_SECTION_TENSORS).size / sizeof(*tensors);
         ++tensors[count - 1].rank;
       }},
      {"smallest dim",
       [](Editor &e) { e.table<int64_t>(MV_SECTION_DIMS)[0] = INT64_MIN; }},
      {"symbol number",
       [](Editor &e) {
         e.table<int64_t>(MV_SECTION_DIMS)[0] = MV_DIM_SYMBOL(5000);
       }},
      {"negative range",
       [](Editor &e) {
         e.table<mv_file_symbol>(MV_SECTION_SYMBOLS)[0].min = -1;
       }},
      {"empty range",
       [](Editor &e) {
         auto *symbol = e.table<mv_file_symbol>(MV_SECTION_SYMBOLS);
         symbol->min = 5;
         symbol->max = 4;
       }},
      {"alias input",
       [](Editor &e) {
         e.table<mv_file_alias>(MV_SECTION_ALIASES)[0].input = 1;
       }},
      {"initial value outside",
       [](Editor &e) {
         auto *states = e.table<mv_file_state>(MV_SECTION_STATES);
         for (int i : {0, 1, 2})
           if (states[i].initial != MV_NO_INITIAL)
             states[i].initial = 1 << 30;
       }},
      {"initial value between",
       [](Editor &e) {
         auto *states = e.table<mv_file_state>(MV_SECTION_STATES);
         for (int i : {0, 1, 2})
           if (states[i].initial != MV_NO_INITIAL)
             states[i].initial += 4;
       }},
      {"state reserved",
       [](Editor &e) {
         e.table<mv_file_state>(MV_SECTION_STATES)[0].reserved = 1;
       }},
      {"state count",
       [](Editor &e) {
         e.table<mv_file_interface>(MV_SECTION_INTERFACES)[0].state_count = ~0u;
       }},
      {"signature algorithm",
       [](Editor &e) {
         e.table<mv_file_signature>(MV_SECTION_SIGNATURE)->algorithm = 2;
       }},
      {"signature of nothing",
       [](Editor &e) {
         e.table<mv_file_signature>(MV_SECTION_SIGNATURE)->signature[5] = 1;
       }},
      {"padding before the code",
       [](Editor &e) { e.bytes[e.section(MV_SECTION_CODE).offset - 1] = 1; }},
      {"padding before the constants",
       [](Editor &e) {
         e.bytes[e.section(MV_SECTION_CONSTANTS).offset - 1] = 1;
       }},
  };
  for (const auto &[name, edit] : edits) {
    Editor editor;
    edit(editor);
    EXPECT_NE(editor.bytes, smallModule()) << name;
    editor.hashAgain();
    EXPECT_EQ(load(editor.bytes), MV_INVALID_MODULE) << name;
  }
}

/// Static dims whose product overflows are refused when bytes are counted.
TEST(Corruption, AbsurdStaticDims) {
  ModuleContents contents = testContents(MARVER_TEST_IMAGE);
  contents.entries[0].interface.inputs[0].dims = {int64_t(1) << 40, int64_t(1)
                                                                        << 40};
  AlignedBytes bytes(moduleBytes(contents));
  mv_module *module;
  ASSERT_EQ(mv_module_load_memory(bytes.data(), bytes.size(), nullptr, &module,
                                  nullptr),
            MV_OK);
  ModulePtr owner(module);
  SessionPtr session = makeSession(module, "main");
  float value = 0;
  EXPECT_EQ(mv_session_set_input(session.get(), 0, nullptr, &value, 4),
            MV_SHAPE_MISMATCH);
}
