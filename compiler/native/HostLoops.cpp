//===- HostLoops.cpp - What iterations of host loops begin and end with ---===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "compiler/native/HostLoops.h"
#include "compiler/ir/MvDialect.h"
#include "compiler/native/HostBuilder.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace marver {

static bool growsMemory(Operation *loop) {
  return loop
      ->walk([](mv::BufferOp buffer) {
        return buffer.getSpace() == mv::BufferSpace::Grown
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

static Value compare(HostBuilder &b, arith::CmpIPredicate predicate,
                     Value value, int64_t number) {
  return arith::CmpIOp::create(b, predicate, value, b.constant(number));
}

static void beginTrip(Operation *loop, Value call) {
  Block &body = loop->getRegions().back().front();
  HostBuilder b(loop->getLoc(), OpBuilder::InsertPoint(&body, body.begin()));
  mv::CheckOp::create(
      b, compare(b, arith::CmpIPredicate::eq, b.loadStatus(call), 0),
      MV_FAILURE_CANCELLED, "the run is not cancelled");
  Value address = b.atByte(call, offsetof(mv_call, trips_left));
  Value left = b.loadI64(address);
  b.store(arith::SubIOp::create(b, left, b.constant(1)), address);
  auto check = mv::CheckOp::create(
      b, compare(b, arith::CmpIPredicate::ne, left, 0), MV_FAILURE_TRIP_COUNT,
      "the loop stays within the limit of iterations");
  if (Attribute place = loop->getAttr("mv.place"))
    check->setAttr("mv.place", place);
}

static void sweepAtEnd(Operation *loop, Value call) {
  HostBuilder before(
      loop->getLoc(),
      OpBuilder::InsertPoint(loop->getBlock(), Block::iterator(loop)));
  Value mark = before.loadI64(before.atByte(call, offsetof(mv_call, grown)));
  Operation *yield = loop->getRegions().back().front().getTerminator();
  SmallVector<Value> kept =
      llvm::filter_to_vector(yield->getOperands(), [](Value value) {
        return isa<MemRefType>(value.getType());
      });

  // Room for the addresses, once for all iterations.
  Block &entry = loop->getParentOfType<func::FuncOp>().getBody().front();
  HostBuilder first(loop->getLoc(),
                    OpBuilder::InsertPoint(&entry, entry.begin()));
  Value list =
      LLVM::AllocaOp::create(first, first.pointerType, first.getI64Type(),
                             first.constant(std::max<int64_t>(1, kept.size())));
  HostBuilder b(loop->getLoc(), OpBuilder::InsertPoint(yield->getBlock(),
                                                       Block::iterator(yield)));
  for (auto [i, value] : llvm::enumerate(kept))
    b.store(b.toI64(memref::ExtractAlignedPointerAsIndexOp::create(b, value)),
            b.atIndex(list, i));
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(b.getContext()),
      {b.pointerType, b.getI64Type(), b.pointerType, b.getI64Type()});
  Value services = b.loadPointer(b.atByte(call, offsetof(mv_call, services)));
  Value sweep = b.loadPointer(b.atByte(services, offsetof(mv_services, sweep)));
  LLVM::CallOp::create(
      b, type, ValueRange{sweep, call, mark, list, b.constant(kept.size())});
}

void controlLoops(func::FuncOp function, Value call) {
  function.walk([&](Operation *loop) {
    if (!isa<scf::WhileOp, scf::ForOp>(loop))
      return;
    beginTrip(loop, call);
    if (growsMemory(loop))
      sweepAtEnd(loop, call);
  });
}

} // namespace marver
