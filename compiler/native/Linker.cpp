//===- Linker.cpp - One flat image from many objects ----------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// LLD links a shared object in memory; its .text and .rodata, which the linker
// script puts at address 0, are the image. It is linked as a shared object
// because then every address that would have to be fixed at load shows up as a
// dynamic relocation, and there must be none.
//
//===----------------------------------------------------------------------===//

#include "compiler/native/Linker.h"

#include "compiler/native/SupportLibrary.h"
#include "lld/Common/Driver.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <system_error>
#include <thread>
#include <unistd.h>

LLD_HAS_DRIVER(elf)

using namespace llvm;

namespace marver {
namespace {

/// The tables start on a cache line of their own. What is discarded has no
/// meaning in an image; anything else with contents is refused below.
constexpr StringLiteral kLinkerScript = R"(
SECTIONS {
  . = 0;
  .text : { *(.text .text.*) }
  .rodata ALIGN(64) : { *(.rodata .rodata.*) }
  .dynamic : { *(.dynamic) }
  .dynsym : { *(.dynsym) }
  .gnu.hash : { *(.gnu.hash) }
  .dynstr : { *(.dynstr) }
  /DISCARD/ : { *(.comment) *(.note .note.*) *(.eh_frame) *(.debug_*)
                *(.llvm_addrsig) *(.llvm.*) }
}
)";

/// A file that has no name and vanishes with this object.
class MemoryFile {
public:
  MemoryFile() : descriptor(memfd_create("", MFD_CLOEXEC)) {}
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;
  ~MemoryFile() {
    if (descriptor >= 0)
      close(descriptor);
  }

  explicit operator bool() const { return descriptor >= 0; }
  int getDescriptor() const { return descriptor; }
  std::string path() const {
    return "/proc/self/fd/" + std::to_string(descriptor);
  }

  bool write(StringRef bytes) const {
    raw_fd_ostream stream(descriptor, /*shouldClose=*/false);
    stream << bytes;
    stream.flush();
    bool good = !stream.has_error();
    stream.clear_error();
    return good;
  }

private:
  int descriptor;
};

/// A pipe whose other end collects what is written to it. LLD replaces regular
/// output files by way of a temporary one beside them; to a pipe it just
/// writes.
class CollectingPipe {
public:
  CollectingPipe() {
    if (pipe2(ends, O_CLOEXEC) != 0)
      return;
    reader = std::thread([this] {
      char buffer[1 << 16];
      ssize_t count;
      while ((count = read(ends[0], buffer, sizeof(buffer))) != 0) {
        if (count > 0)
          collected.append(buffer, buffer + count);
        else if (errno != EINTR)
          break;
      }
    });
  }
  CollectingPipe(const CollectingPipe &) = delete;
  CollectingPipe &operator=(const CollectingPipe &) = delete;
  ~CollectingPipe() {
    finish();
    if (ends[0] >= 0)
      close(ends[0]);
  }

  explicit operator bool() const { return ends[1] >= 0; }
  std::string path() const {
    return "/proc/self/fd/" + std::to_string(ends[1]);
  }

  /// All that was written, once every writer is done.
  StringRef finish() {
    if (reader.joinable()) {
      close(ends[1]);
      reader.join();
    }
    return toStringRef(collected);
  }

private:
  int ends[2] = {-1, -1};
  std::thread reader;
  SmallVector<char, 0> collected;
};

template <typename... Parts> Error makeError(const Parts &...parts) {
  std::string message;
  raw_string_ostream stream(message);
  (stream << ... << parts);
  return createStringError(inconvertibleErrorCode(), message);
}

Expected<std::unique_ptr<object::ObjectFile>> openObject(StringRef bytes,
                                                         StringRef name) {
  return object::ObjectFile::createELFObjectFile(MemoryBufferRef(bytes, name));
}

/// Names that objects define, and names that they use without defining them
/// (with the first user of each, in order).
struct SymbolUse {
  StringSet<> defined;
  MapVector<StringRef, StringRef> used;

  Error collect(const object::ObjectFile &file, StringRef user) {
    for (const object::SymbolRef &symbol : file.symbols()) {
      Expected<uint32_t> flags = symbol.getFlags();
      if (!flags)
        return flags.takeError();
      Expected<StringRef> name = symbol.getName();
      if (!name)
        return name.takeError();
      if (name->empty())
        continue;
      if (*flags & object::SymbolRef::SF_Undefined)
        used.insert({*name, user});
      else if (*flags & object::SymbolRef::SF_Global)
        defined.insert(*name);
    }
    return Error::success();
  }
};

/// The object with what `objects` need of the support library, or none if they
/// need nothing. Code generation of support functions may leave calls to other
/// ones, so it is repeated until nothing is missing.
Expected<std::optional<NativeObject>>
resolveSupport(ArrayRef<NativeObject> objects, const CodegenOptions &options) {
  SymbolUse symbols;
  for (const NativeObject &object : objects) {
    auto file = openObject(toStringRef(object.bytes), object.name);
    if (!file)
      return file.takeError();
    if (Error error = symbols.collect(**file, object.name))
      return error;
  }
  std::optional<NativeObject> support;
  SmallVector<std::string> needed;
  while (true) {
    bool isComplete = true;
    for (auto [name, user] : symbols.used) {
      if (symbols.defined.contains(name))
        continue;
      if (!isSupportFunction(name))
        return makeError("code of '", user, "' calls '", name,
                         "', which the support library lacks");
      if (is_contained(needed, name))
        continue;
      needed.push_back(name.str());
      isComplete = false;
    }
    if (isComplete)
      return support;
    auto compiled = compileSupportFunctions(needed, options);
    if (!compiled)
      return compiled.takeError();
    support = std::move(*compiled);
    auto file = openObject(toStringRef(support->bytes), support->name);
    if (!file)
      return file.takeError();
    if (Error error = symbols.collect(**file, support->name))
      return error;
  }
}

/// Sections that a shared object has whatever it holds; they stay out of the
/// image.
bool isLinkTable(StringRef name, uint32_t type) {
  return type == ELF::SHT_DYNAMIC || type == ELF::SHT_DYNSYM ||
         type == ELF::SHT_HASH || type == ELF::SHT_GNU_HASH ||
         name == ".dynstr";
}

/// Takes the image out of the linked shared object and checks that it needs
/// nothing else.
Expected<NativeImage> extractImage(StringRef linked) {
  auto file = openObject(linked, "image");
  if (!file)
    return file.takeError();
  NativeImage image;
  for (const object::SectionRef &section : (*file)->sections()) {
    object::ELFSectionRef elfSection(section);
    Expected<StringRef> name = section.getName();
    if (!name)
      return name.takeError();
    if (!(elfSection.getFlags() & ELF::SHF_ALLOC) || section.getSize() == 0 ||
        isLinkTable(*name, elfSection.getType()))
      continue;
    if (*name != ".text" && *name != ".rodata")
      return makeError("the linked image has a section ", *name, " of ",
                       section.getSize(), " bytes");
    Expected<StringRef> contents = section.getContents();
    if (!contents)
      return contents.takeError();
    uint64_t begin = section.getAddress();
    if (*name == ".text" && begin != 0)
      return makeError("the linked text starts at ", begin);
    // The gap before the tables is never run; zeros keep it canonical.
    image.bytes.resize(
        std::max<uint64_t>(image.bytes.size(), begin + contents->size()));
    copy(*contents, image.bytes.begin() + begin);
    if (*name == ".text")
      image.textBytes = contents->size();
  }
  for (const object::SymbolRef &symbol : (*file)->symbols()) {
    Expected<object::SymbolRef::Type> type = symbol.getType();
    if (!type)
      return type.takeError();
    if (*type != object::SymbolRef::ST_Function)
      continue;
    Expected<StringRef> name = symbol.getName();
    Expected<uint64_t> address = symbol.getAddress();
    if (!name)
      return name.takeError();
    if (!address)
      return address.takeError();
    image.symbols[*name] = *address;
  }
  return image;
}

} // namespace

Expected<NativeImage> linkImage(ArrayRef<NativeObject> objects,
                                const CodegenOptions &options) {
  auto support = resolveSupport(objects, options);
  if (!support)
    return support.takeError();

  // One archive, not a file per object: their number is the model's business.
  SmallVector<NewArchiveMember> members;
  auto addMember = [&](const NativeObject &object) {
    members.emplace_back(
        MemoryBufferRef(toStringRef(object.bytes), object.name));
  };
  for_each(objects, addMember);
  if (*support)
    addMember(**support);
  auto archive =
      writeArchiveToBuffer(members, SymtabWritingMode::NoSymtab,
                           object::Archive::K_GNU, /*Deterministic=*/true,
                           /*Thin=*/false);
  if (!archive)
    return archive.takeError();

  MemoryFile input, script;
  CollectingPipe output;
  if (!input || !script || !output || !input.write((*archive)->getBuffer()) ||
      !script.write(kLinkerScript))
    return makeError("no memory for linking: ",
                     std::generic_category().message(errno));
  std::string inputPath = input.path(), scriptPath = script.path(),
              outputPath = output.path();
  const char *arguments[] = {"ld.lld",
                             "-shared",
                             "--build-id=none",
                             "--hash-style=gnu",
                             "-z",
                             "defs",
                             "-z",
                             "text",
                             "--no-rosegment",
                             "--threads=1",
                             "-T",
                             scriptPath.c_str(),
                             "-o",
                             outputPath.c_str(),
                             "--whole-archive",
                             inputPath.c_str()};
  std::string messages;
  raw_string_ostream stream(messages);
  lld::Result result =
      lld::lldMain(arguments, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return makeError("linking failed: ", StringRef(messages).trim());

  return extractImage(output.finish());
}

} // namespace marver
