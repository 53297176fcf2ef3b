//===- ArchiveTest.cpp - Archives that are right, and that are not --------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/import/torch/Archive.h"
#include "tests/unit/compiler-import-torch/ZipWriter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

using namespace marver::torch;
using testing::HasSubstr;

static std::string errorOf(const std::string &bytes) {
  llvm::Expected<Archive> archive =
      Archive::open(llvm::ArrayRef<char>(bytes.data(), bytes.size()));
  return archive ? "" : llvm::toString(archive.takeError());
}

static std::string contentOf(const std::string &bytes, llvm::StringRef name) {
  llvm::Expected<Archive> archive =
      Archive::open(llvm::ArrayRef<char>(bytes.data(), bytes.size()));
  if (!archive)
    return "error: " + llvm::toString(archive.takeError());
  llvm::Expected<llvm::ArrayRef<char>> content = archive->read(name);
  if (!content)
    return "error: " + llvm::toString(content.takeError());
  return std::string(content->data(), content->size());
}

TEST(Archive, ReadsStoredEntries) {
  std::vector<ZipEntry> entries = {{"m/a", "hello"}, {"m/b", ""}};
  for (bool zip64 : {false, true}) {
    for (ZipEntry &entry : entries)
      entry.zip64 = zip64;
    ZipOptions options;
    options.zip64 = zip64;
    std::string bytes = writeZip(entries, options);
    EXPECT_EQ(contentOf(bytes, "m/a"), "hello");
    EXPECT_EQ(contentOf(bytes, "m/b"), "");
    EXPECT_THAT(contentOf(bytes, "m/c"), HasSubstr("has no 'm/c'"));
  }
}

TEST(Archive, ComparesTheChecksum) {
  EXPECT_EQ(contentOf(writeZip({{"a", "hello", 0x3610a686}}), "a"), "hello");
  EXPECT_THAT(contentOf(writeZip({{"a", "hellp", 0x3610a686}}), "a"),
              HasSubstr("checksum"));
}

TEST(Archive, TakesAComment) {
  ZipOptions options;
  options.comment = "PK\x05\x06 in a comment";
  EXPECT_EQ(contentOf(writeZip({{"a", "x"}}, options), "a"), "x");
}

TEST(Archive, RefusesWhatIsNoArchive) {
  EXPECT_THAT(errorOf(""), HasSubstr("too short"));
  EXPECT_THAT(errorOf(std::string(100, 'x')), HasSubstr("not a .pt2 file"));
}

TEST(Archive, RefusesEveryTruncation) {
  std::string bytes = writeZip({{"m/a", "hello"}, {"m/b", "world"}});
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_NE(errorOf(bytes.substr(0, size)), "") << size;
}

TEST(Archive, RefusesBadEntries) {
  ZipEntry good{"a", "x"}, entry = good;
  entry.method = 8;
  EXPECT_THAT(errorOf(writeZip({entry})), HasSubstr("compressed"));
  entry = good;
  entry.flags = 1;
  EXPECT_THAT(errorOf(writeZip({entry})), HasSubstr("encrypted"));
  entry = good;
  entry.localName = "b";
  EXPECT_THAT(errorOf(writeZip({entry})), HasSubstr("differ"));
  entry = good;
  entry.size = 1000;
  EXPECT_THAT(errorOf(writeZip({entry})), HasSubstr("range"));
  entry = good;
  entry.zip64 = true;
  entry.size = INT64_MAX;
  EXPECT_THAT(errorOf(writeZip({entry})), HasSubstr("range"));
  entry = good;
  entry.offset = 5000;
  EXPECT_THAT(errorOf(writeZip({entry})), HasSubstr("range"));
  entry.offset = INT64_MAX;
  entry.zip64 = true;
  EXPECT_THAT(errorOf(writeZip({entry})), HasSubstr("range"));
  EXPECT_THAT(errorOf(writeZip({good, good})), HasSubstr("twice"));
  ZipEntry second{"b", "y"};
  second.offset = 0;
  second.localName = "a";
  EXPECT_THAT(errorOf(writeZip({good, second})), HasSubstr("differ"));
  for (const char *name : {"../a", "/a", "a\\b", "a/../../b", ""})
    EXPECT_THAT(errorOf(writeZip({{name, "x"}})), HasSubstr("bad name"));
}

TEST(Archive, RefusesOverlap) {
  // The second entry's record lies inside the first one's data.
  std::string inner = writeZip({{"b", "y"}}).substr(0, 32);
  ZipEntry outer{"a", inner}, second{"b", "y"};
  second.offset = 31;
  EXPECT_THAT(errorOf(writeZip({outer, second})), HasSubstr("overlap"));
}

TEST(Archive, RefusesABadDirectory) {
  std::vector<ZipEntry> entries = {{"a", "x"}};
  ZipOptions options;
  options.entries = 2;
  EXPECT_THAT(errorOf(writeZip(entries, options)), HasSubstr("corrupt"));
  options.entries = 0;
  EXPECT_THAT(errorOf(writeZip(entries, options)), HasSubstr("corrupt"));
  options = {};
  options.directoryOffset = 3;
  EXPECT_THAT(errorOf(writeZip(entries, options)), HasSubstr("corrupt"));
  options.zip64 = true;
  options.directoryOffset = INT64_MAX;
  EXPECT_THAT(errorOf(writeZip(entries, options)), HasSubstr("corrupt"));
  options = {};
  options.disk = 1;
  EXPECT_THAT(errorOf(writeZip(entries, options)), HasSubstr("parts"));
}

static std::string packageError(const std::vector<ZipEntry> &entries) {
  std::string bytes = writeZip(entries);
  llvm::Expected<Package> package =
      Package::open(llvm::ArrayRef<char>(bytes.data(), bytes.size()));
  return package ? "" : llvm::toString(package.takeError());
}

TEST(Package, FindsTheProgram) {
  EXPECT_EQ(packageError({{"m/archive_format", "pt2"},
                          {"m/byteorder", "little"},
                          {"m/models/model.json", "{}"}}),
            "");
  EXPECT_THAT(packageError({{"m/x", ""}}), HasSubstr("no archive_format"));
  EXPECT_THAT(packageError({{"m/archive_format", "pt3"}}),
              HasSubstr("not pt2"));
  EXPECT_THAT(
      packageError({{"m/archive_format", "pt2"}, {"m/byteorder", "big"}}),
      HasSubstr("big-endian"));
  EXPECT_THAT(packageError({{"m/archive_format", "pt2"}}),
              HasSubstr("no exported program"));
  EXPECT_THAT(packageError({{"m/archive_format", "pt2"},
                            {"m/data/aotinductor/model/x.so", ""}}),
              HasSubstr("AOTInductor"));
  EXPECT_THAT(packageError({{"m/archive_format", "pt2"},
                            {"m/models/a.json", ""},
                            {"m/models/b.json", ""}}),
              HasSubstr("a, b"));
}
