//===- Archive.h - Strict reader of .pt2 archives ----------------*- C++
//-*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A .pt2 file is a zip archive whose entries are stored uncompressed, so that a
// weight can be used where it lies in the mapped file. This reader knows that
// form and nothing else: an entry that is compressed, encrypted, duplicate,
// overlaps another or leaves the file is refused. Nothing is ever unpickled.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_IMPORT_TORCH_ARCHIVE_H
#define MARVER_COMPILER_IMPORT_TORCH_ARCHIVE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <vector>

namespace marver::torch {

/// An error with one line of text for the user.
llvm::Error makeError(const llvm::Twine &message);

class Archive {
public:
  /// Reads the directory of the zip archive in `bytes`, which must outlive the
  /// archive.
  static llvm::Expected<Archive> open(llvm::ArrayRef<char> bytes);

  /// The bytes of an entry, nullopt if there is none of this name.
  std::optional<llvm::ArrayRef<char>> find(llvm::StringRef name) const;

  /// As above, compared with the entry's checksum.
  llvm::Expected<llvm::ArrayRef<char>> read(llvm::StringRef name) const;

  /// All names, in the order of the directory.
  llvm::ArrayRef<std::string> names() const { return order; }

private:
  struct Entry {
    llvm::ArrayRef<char> bytes;
    uint32_t crc = 0;
  };
  llvm::StringMap<Entry> entries;
  std::vector<std::string> order;
};

/// The files of one exported program inside an archive.
struct Package {
  Archive archive;
  /// The folder that holds everything, with a slash; usually the file's name.
  std::string root;
  /// Name of the program: models/NAME.json.
  std::string program;

  /// Finds the one program of the archive and checks that its layout is the one
  /// that torch.export.save writes since PyTorch 2.9.
  static llvm::Expected<Package> open(llvm::ArrayRef<char> bytes);

  std::string path(const llvm::Twine &inside) const {
    return (llvm::Twine(root) + inside).str();
  }
};

} // namespace marver::torch

#endif // MARVER_COMPILER_IMPORT_TORCH_ARCHIVE_H
