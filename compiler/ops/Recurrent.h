//===- Recurrent.h - Builders of recurrent layers ---------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// RNN, GRU and LSTM as ONNX and PyTorch have them. What depends on the input
// only is one matmul over the whole sequence; the rest is a loop that carries
// the states.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_COMPILER_OPS_RECURRENT_H
#define MARVER_COMPILER_OPS_RECURRENT_H

#include "compiler/ops/Ops.h"
#include <functional>

namespace marver {

/// One direction of one layer; G gates (1, 3, 4), H hidden units, P outputs (H
/// without a projection).
struct RecurrentCell {
  using Activation = std::function<mlir::Value(OpsBuilder &, mlir::Value)>;

  enum Kind { Rnn, Gru, Lstm } kind = Rnn;
  mlir::Value inputWeight;     ///< G*H x I
  mlir::Value recurrentWeight; ///< G*H x P
  mlir::Value inputBias;       ///< G*H, or null
  mlir::Value recurrentBias;   ///< G*H, or null
  mlir::Value peephole;        ///< LSTM: 3*H (input, output, forget), or null
  mlir::Value projection;      ///< LSTM: P x H, or null
  /// At which of G places the rows of each gate are. LSTM: input, forget, cell,
  /// output; GRU: update, reset, new.
  llvm::SmallVector<int64_t, 4> order = {0};
  /// Of the gates, of the cell's (GRU: new, RNN: the only) input, of the cell.
  Activation gate, input, cell;
  std::optional<double> clip;     ///< bound of what the activations are given
  bool linearBeforeReset = false; ///< GRU: the reset gate scales R h + b
  bool couplesForget = false;     ///< LSTM: forget = 1 - input

  int64_t gates() const { return kind == Rnn ? 1 : kind == Gru ? 3 : 4; }
};

/// `hidden` B x P, `cell` B x H (LSTM only, else null), `outputs` T*D x B x P:
/// the hidden states of D directions, of which direction d writes the rows
/// t * D + d.
struct RecurrentState {
  mlir::Value hidden, cell, outputs;
};

/// Runs the cell over `x`, T x B x I. From the last step to the first with
/// `isReverse`. `lengths` (B integers, or null): the states of a batch stay as
/// they are after its last step, and its outputs behind it are 0; its last step
/// is the first one in reverse. Fails as every builder does (null values).
RecurrentState runRecurrent(OpsBuilder &b, const RecurrentCell &cell,
                            mlir::Value x, const RecurrentState &initial,
                            mlir::Value lengths, bool isReverse,
                            int64_t directions, int64_t direction);

/// The first `lengths[b]` elements along `time` in the opposite order, for each
/// b along `batch`; the two are dims 0 and 1.
mlir::Value reverseSequence(OpsBuilder &b, mlir::Value x, mlir::Value lengths,
                            int64_t batch, int64_t time);

} // namespace marver

#endif // MARVER_COMPILER_OPS_RECURRENT_H
