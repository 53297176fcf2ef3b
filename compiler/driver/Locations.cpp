//===- Locations.cpp - Places in the user's model -------------------------===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/driver/Locations.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace marver {

static void collect(Location location, std::string &file,
                    SmallVectorImpl<StringRef> &names) {
  TypeSwitch<LocationAttr>(location)
      .Case([&](FileLineColLoc place) {
        if (!file.empty())
          return;
        file = place.getFilename().str();
        // Line 0: the file as a whole.
        if (place.getLine() == 0)
          return;
        file += ":" + std::to_string(place.getLine());
        if (place.getColumn() != 0)
          file += ":" + std::to_string(place.getColumn());
      })
      .Case([&](NameLoc place) {
        if (!llvm::is_contained(names, place.getName().getValue()))
          names.push_back(place.getName().getValue());
        collect(place.getChildLoc(), file, names);
      })
      .Case([&](FusedLoc fused) {
        for (Location part : fused.getLocations())
          collect(part, file, names);
      })
      .Case([&](CallSiteLoc call) {
        collect(call.getCallee(), file, names);
        if (file.empty())
          collect(call.getCaller(), file, names);
      });
}

SourcePlace describeLocation(Location location) {
  SourcePlace place;
  SmallVector<StringRef> names;
  collect(location, place.file, names);
  place.name = llvm::join(names, " + ");
  return place;
}

} // namespace marver
