//===- MvOps.td - Operations of the mv dialect -------------*- tablegen -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// In the order of the stages: graph operations (made by the operator builders),
// blocked and packed operations (made by the layout pass), kernels, buffers.
//
//===----------------------------------------------------------------------===//

#ifndef MARVER_IR_MVOPS_TD
#define MARVER_IR_MVOPS_TD

include "MvDialect.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Mv_Op<string mnemonic, list<Trait> traits = []>
    : Op<Mv_Dialect, mnemonic, traits>;

// A pure function of its tensors, whose result shape can be reified.
class Mv_TensorOp<string mnemonic, list<Trait> traits = []>
    : Mv_Op<mnemonic, !listconcat(traits, [Pure,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
          ["reifyResultShapes"]>])> {
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Graph operations
//===----------------------------------------------------------------------===//

def Mv_ConvOp : Mv_TensorOp<"conv"> {
  let summary = "convolution of any spatial rank, channels first";
  let description = [{
    `input` N x C x S..., `filter` F x C/groups x K..., `bias` F (optional);
    result N x F x O... with O = floor((S + lo + hi - dilation * (K - 1) - 1) /
    stride) + 1. `pads` holds lo of every spatial dim, then hi of every one;
    padding is zero. Channel c of group g is input channel g * C/groups + c.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$filter,
    Optional<AnyRankedTensor>:$bias, DenseI64ArrayAttr:$strides,
    DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads, I64Attr:$groups);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input `,` $filter (`bias` $bias^)? attr-dict `:` functional-type(operands, $result)
  }];
  let extraClassDeclaration = [{
    int64_t getSpatialRank() { return getInput().getType().getRank() - 2; }
  }];
}

def Mv_MatmulOp : Mv_TensorOp<"matmul"> {
  let summary = "matrix product with batch dims";
  let description = [{
    `lhs` B... x M x K; `rhs` K x N, or B... x K x N with the same batch dims
    (the builder broadcasts); with `transpose_rhs` N x K or B... x N x K. Result
    B... x M x N. Accumulates in f32 for f32, f16 and bf16, in f64 for f64, in
    the result's type (at least i32) for integers.
  }];
  let arguments = (ins AnyRankedTensor:$lhs, AnyRankedTensor:$rhs,
    UnitAttr:$transpose_rhs);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` functional-type(operands, $result)";
}

def Mv_PoolOp : Mv_TensorOp<"pool"> {
  let summary = "max or average over sliding windows of the spatial dims";
  let description = [{
    `input` N x C x S..., or blocked N x Cb x S... x B with `blocked`. Windows
    as in mv.conv (`pads` may be larger on the high side for ceil mode). Padding
    never takes part in a maximum; an average counts it only with
    `count_include_pad` (never beyond the declared `pads`). NaN propagates.
  }];
  let arguments = (ins AnyRankedTensor:$input, Mv_PoolKind:$kind,
    DenseI64ArrayAttr:$window, DenseI64ArrayAttr:$strides,
    DenseI64ArrayAttr:$dilations, DenseI64ArrayAttr:$pads,
    UnitAttr:$count_include_pad, UnitAttr:$blocked);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$kind $input attr-dict `:` functional-type(operands, $result)";
}

def Mv_ResizeOp : Mv_TensorOp<"resize"> {
  let summary = "interpolation of the spatial dims";
  let description = [{
    `input` N x C x S... (blocked: N x Cb x S... x B); result sizes are in its
    type, dynamic ones in `sizes`. Coordinate of output o in the input:
    `(o + offset) * step + shift` per spatial dim with f64 attributes, then for
    nearest: floor(x + `nearest_bias`) (0: floor, 0.5: round half up), clamped to the
    input; linear and cubic (coefficient -0.75) clamp their taps to the border.
    ONNX's and PyTorch's coordinate modes are values of these numbers.
  }];
  let arguments = (ins AnyRankedTensor:$input, Variadic<Index>:$sizes,
    Mv_ResizeMode:$mode, DenseF64ArrayAttr:$steps, DenseF64ArrayAttr:$offsets,
    DenseF64ArrayAttr:$shifts, F64Attr:$nearest_bias, UnitAttr:$blocked);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$mode $input (`sizes` $sizes^)? attr-dict `:` type($input) `->` type($result)";
}

def Mv_SoftmaxOp : Mv_TensorOp<"softmax", [AllTypesMatch<["input", "result"]>]> {
  let summary = "softmax or log-softmax along one dim";
  let arguments = (ins AnyRankedTensor:$input, I64Attr:$dim, UnitAttr:$log);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

def Mv_LayerNormOp : Mv_TensorOp<"layer_norm", [AttrSizedOperandSegments,
    AllTypesMatch<["input", "result"]>]> {
  let summary = "normalization over the trailing dims";
  let description = [{
    (x - mean) / sqrt(variance + epsilon) * scale + bias over the last `dims`
    dims; scale and bias have exactly those dims. With `rms`, no mean is
    subtracted and the mean square takes the variance's place.
  }];
  let arguments = (ins AnyRankedTensor:$input, Optional<AnyRankedTensor>:$scale,
    Optional<AnyRankedTensor>:$bias, I64Attr:$dims, F64Attr:$epsilon, UnitAttr:$rms);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input (`scale` $scale^ `:` type($scale))? (`bias` $bias^ `:` type($bias))? attr-dict `:` type($input)
  }];
}

def Mv_AttentionOp : Mv_TensorOp<"attention"> {
  let summary = "softmax(scale * query key^T + mask) value";
  let description = [{
    query B... x T x D, key B... x S x D, value B... x S x E, optional mask of a
    shape that broadcasts to B... x T x S (i1: true keeps, float: added) or, of
    i64, to B... x T x 1: the last key that a query sees. Result B... x T x E.
    With `causal`, query t sees keys s <= t only. A row whose keys are all
    masked is zero with an integer mask (PyTorch), NaN otherwise.
  }];
  let arguments = (ins AnyRankedTensor:$query, AnyRankedTensor:$key,
    AnyRankedTensor:$value, Optional<AnyRankedTensor>:$mask, F64Attr:$scale,
    UnitAttr:$causal);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`mask` $mask^)? attr-dict `:` functional-type(operands, $result)
  }];
}

def Mv_GatherOp : Mv_TensorOp<"gather"> {
  let summary = "slices of a tensor chosen by indices along one dim";
  let description = [{
    result[a..., i..., b...] = input[a..., indices[i...], b...] with a before
    `dim` and b after it. Negative indices count from the end. An index out of
    range reports MV_FAILURE_INDEX, unless `unchecked` says that the importer
    proved the range.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$indices,
    I64Attr:$dim, UnitAttr:$unchecked);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `at` $indices attr-dict `:` functional-type(operands, $result)";
}

def Mv_GatherElementsOp : Mv_TensorOp<"gather_elements"> {
  let summary = "elements of a tensor chosen one by one along one dim";
  let description = [{
    result[i] = input[i with i[dim] replaced by indices[i]]; the result has the
    shape of `indices`. Range checks as in mv.gather.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$indices,
    I64Attr:$dim, UnitAttr:$unchecked);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `at` $indices attr-dict `:` functional-type(operands, $result)";
}

def Mv_ScatterOp : Mv_TensorOp<"scatter", [AllTypesMatch<["input", "result"]>]> {
  let summary = "a copy of a tensor with slices along one dim replaced";
  let description = [{
    result = input; for each position i of the one-dim `indices`, in order:
    result[a..., indices[i], b...] = updates[a..., i, b...] with a before `dim`
    (PyTorch's index_copy). Later positions win. With another `kind` the updates
    are combined with what is there, in order of the positions. Checks as in mv.gather. `input` may be updated in
    place when nothing else uses it.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$indices,
    AnyRankedTensor:$updates, I64Attr:$dim,
    DefaultValuedAttr<Mv_ScatterKind, "::marver::mv::ScatterKind::Replace">:$kind);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$updates `into` $input `at` $indices attr-dict `:` functional-type(operands, $result)";
}

def Mv_ArgReduceOp : Mv_TensorOp<"arg_reduce"> {
  let summary = "position of the first extremum along one dim";
  let description = [{
    The result lacks `dim` and has element type i64 or i32. NaN counts as the extremum (the first
    one wins). With `last`, the last of equal extrema.
  }];
  let arguments = (ins AnyRankedTensor:$input, Mv_ArgKind:$kind, I64Attr:$dim,
    UnitAttr:$last);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$kind $input attr-dict `:` functional-type(operands, $result)";
}

def Mv_CumulativeSumOp : Mv_TensorOp<"cumulative_sum", [AllTypesMatch<["input", "result"]>]> {
  let summary = "running sum along one dim";
  let arguments = (ins AnyRankedTensor:$input, I64Attr:$dim, UnitAttr:$exclusive,
    UnitAttr:$reverse);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

def Mv_TopKOp : Mv_TensorOp<"top_k"> {
  let summary = "positions of the first elements in ascending or descending order";
  let description = [{
    `input` B... x N; result B... x K of i64: the positions of the K elements
    that come first, in their order. With `rows`, `input` is B... x N x W and
    its rows of W elements are compared as words are. With `largest` the order
    is descending. Of equal ones the smaller position comes first; NaN is the
    largest. `count` is K where the type does not say it; 0 <= K <= N.
  }];
  let arguments = (ins AnyRankedTensor:$input, Optional<Index>:$count,
    UnitAttr:$largest, UnitAttr:$rows, UnitAttr:$is_unsigned);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input (`count` $count^)? attr-dict `:` functional-type($input, $result)";
  let extraClassDeclaration = [{
    /// B....
    int64_t getBatchRank() {
      return getInput().getType().getRank() - (getRows() ? 2 : 1);
    }
  }];
}

def Mv_TruePositionsOp : Mv_TensorOp<"true_positions"> {
  let summary = "positions of the true elements, in order";
  let description = [{
    `mask` N of i1; result M of i64, M the number of true elements, which the
    type or `count` says.
  }];
  let arguments = (ins AnyRankedTensor:$mask, Optional<Index>:$count);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$mask (`count` $count^)? attr-dict `:` functional-type($mask, $result)";
}

def Mv_SuppressOp : Mv_TensorOp<"suppress"> {
  let summary = "greedy choice of boxes that overlap little (non-maximum suppression)";
  let description = [{
    `boxes` B x N x 4, each the low and the high corner: y, x, Y, X; `scores`
    B x C x N of the same float type; result B x C x N of i64. For each batch
    and class, the boxes whose score is above `score_limit` are visited by
    descending score (of equal ones the smaller position first) and chosen while
    fewer than `count_limit` are, unless one chosen before has an area of
    intersection over union with it above `overlap_limit`. The result has the
    positions of the chosen boxes in this order, then -1.
  }];
  let arguments = (ins AnyRankedTensor:$boxes, AnyRankedTensor:$scores,
    AnyRankedTensor:$count_limit, AnyRankedTensor:$overlap_limit,
    AnyRankedTensor:$score_limit);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $boxes `,` $scores `limits` $count_limit `,` $overlap_limit `,` $score_limit attr-dict `:`
    functional-type(operands, $result)
  }];
}

def Mv_CheckOp : Mv_Op<"check"> {
  let summary = "a condition of the host function that must hold";
  let description = [{
    Ends the run with `code` (MV_FAILURE_*) and this operation's place when
    `condition` is false. `message` goes to the sidecar.
  }];
  let arguments = (ins I1:$condition, I32Attr:$code, StrAttr:$message);
  let assemblyFormat = "$condition `,` $code `,` $message attr-dict";
}

//===----------------------------------------------------------------------===//
// Blocked and packed operations
//===----------------------------------------------------------------------===//

def Mv_PackedConvOp : Mv_TensorOp<"packed_conv"> {
  let summary = "dense convolution with packed weights and blocked result";
  let description = [{
    A valid convolution (no pads). `input` is blocked N x Cb x S... x B, or
    plain N x C x S... without `input_blocked` (a network's first layer: its few
    channels are read where they are). `filter` is packed:
    panel x K... x C x NR with `in_channels` = C real channels and panels of NR
    outputs that together hold `out_channels`. Result: blocked
    N x ceil(F/B) x O... x B. `bias`, if any, has ceil(F/B) * B elements.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$filter,
    Optional<AnyRankedTensor>:$bias, DenseI64ArrayAttr:$strides,
    DenseI64ArrayAttr:$dilations, I64Attr:$in_channels, I64Attr:$out_channels,
    UnitAttr:$input_blocked);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input `,` $filter (`bias` $bias^)? attr-dict `:` functional-type(operands, $result)
  }];
  let extraClassDeclaration = [{
    int64_t getSpatialRank() {
      return getInput().getType().getRank() - (getInputBlocked() ? 3 : 2);
    }
  }];
}

def Mv_WinogradFilterOp : Mv_TensorOp<"winograd_filter"> {
  let summary = "packed weights, transformed for mv.winograd_conv";
  let description = [{
    `filter` is packed as mv.packed_conv's, panel x K... x C x NR with one or two
    equal window dims; the result panel' x position x C x NR', with all
    positions of the transformed window in one dim and panels of any width that
    hold the same outputs. `outputs` per dim and `stride` choose the algorithm
    (kernels/WinogradAlgorithm.h). In f64, rounded once.
  }];
  let arguments = (ins AnyRankedTensor:$filter, I64Attr:$outputs,
    I64Attr:$stride);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $filter attr-dict `:` functional-type(operands, $result)
  }];
  let extraClassDeclaration = [{
    int64_t getSpatialRank() { return getFilter().getType().getRank() - 3; }
    int64_t getWindow() { return getFilter().getType().getShape()[1]; }
  }];
}

def Mv_WinogradConvOp : Mv_TensorOp<"winograd_conv"> {
  let summary = "dense convolution with Winograd's minimal algorithm";
  let description = [{
    As mv.packed_conv with a blocked input, one or two spatial dims and the same
    `window` and `stride` in each, but `filter` comes from mv.winograd_filter.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$filter,
    Optional<AnyRankedTensor>:$bias, I64Attr:$outputs, I64Attr:$window,
    I64Attr:$stride, I64Attr:$in_channels, I64Attr:$out_channels);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input `,` $filter (`bias` $bias^)? attr-dict `:` functional-type(operands, $result)
  }];
  let extraClassDeclaration = [{
    int64_t getSpatialRank() { return getInput().getType().getRank() - 3; }
  }];
}

def Mv_DepthwiseConvOp : Mv_TensorOp<"depthwise_conv"> {
  let summary = "depthwise convolution on blocked tensors";
  let description = [{
    Valid convolution of each channel by its own filter: `input`
    N x Cb x S... x B, `filter` Cb x K... x B, `bias` Cb * B (optional), result
    N x Cb x O... x B.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$filter,
    Optional<AnyRankedTensor>:$bias, DenseI64ArrayAttr:$strides,
    DenseI64ArrayAttr:$dilations);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input `,` $filter (`bias` $bias^)? attr-dict `:` functional-type(operands, $result)
  }];
  let extraClassDeclaration = [{
    int64_t getSpatialRank() { return getInput().getType().getRank() - 3; }
  }];
}

def Mv_PackedMatmulOp : Mv_TensorOp<"packed_matmul"> {
  let summary = "matrix product with packed right-hand side";
  let description = [{
    `lhs` B... x M x K row-major, `rhs` packed panel x K x NR holding
    `columns` = N columns, `bias` N (optional), result B... x M x N row-major.
  }];
  let arguments = (ins AnyRankedTensor:$lhs, AnyRankedTensor:$rhs,
    Optional<AnyRankedTensor>:$bias, I64Attr:$columns);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs (`bias` $bias^)? attr-dict `:` functional-type(operands, $result)
  }];
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

def Mv_KernelOp : Mv_Op<"kernel", [IsolatedFromAbove, Symbol, SingleBlock]> {
  let summary = "one unit of native code: a computation on tensors";
  let description = [{
    The region's block arguments are the operands of its launches (tensors and
    index scalars); mv.yield ends it. `family` names the emitter, `schedule`
    holds what the kernel formation decided (tile sizes and `reason`). After the
    buffers stage `buffers` holds one memref type per tensor operand and result.
    Two kernels whose family, schedule, buffers and region are equal share their
    code.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$family,
    DictionaryAttr:$schedule, OptionalAttr<TypeArrayAttr>:$buffers);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name $family $schedule (`buffers` $buffers^)? attr-dict-with-keyword $body";
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::Block &getBlock() { return getBody().front(); }
    ::mlir::Operation *getTerminator() { return getBlock().getTerminator(); }
  }];
}

def Mv_YieldOp : Mv_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "results of a kernel";
  let arguments = (ins Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "($results^ `:` type($results))? attr-dict";
  let builders = [OpBuilder<(ins), [{}]>];
}

def Mv_LaunchOp : Mv_Op<"launch", [AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
          ["reifyResultShapes"]>]> {
  let summary = "one run of a kernel by the host function";
  let description = [{
    On tensors (kernels stage): `operands` are tensors and index scalars,
    `result_dims` the dynamic dims of all results in order, `outs` is empty.
    On memrefs (buffers stage): `operands` are memrefs and index scalars, `outs`
    one memref per result, and there are no results. `extent` is the number of
    parallel indices (buffers stage; empty before).
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel,
    Variadic<AnyTypeOf<[AnyRankedTensor, AnyStridedMemRef, Index]>>:$inputs,
    Variadic<AnyStridedMemRef>:$outs, Variadic<Index>:$result_dims,
    Optional<Index>:$extent);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $kernel `(` ($inputs^ `:` type($inputs))? `)` (`outs` `(` $outs^ `:` type($outs) `)`)?
    (`dims` `(` $result_dims^ `)`)? (`extent` $extent^)? attr-dict (`->` type($results)^)?
  }];
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

def Mv_BufferOp : Mv_Op<"buffer", [Pure, AttrSizedOperandSegments]> {
  let summary = "memory of the host function's call";
  let description = [{
    A contiguous memref of `space`: `offset` bytes into the arena or the
    prepared memory; constant `number` of the module's `mv.constants` (an array
    of element attributes, which the native stage lays out one after the other,
    each aligned to MV_ALIGNMENT); the whole of input or output `number`,
    possibly seen with another shape; or memory that grows the arena while the
    model runs (data-dependent sizes), another one for each `number`. Dynamic
    sizes as operands.
  }];
  let arguments = (ins Mv_BufferSpace:$space, I64Attr:$number,
    Optional<Index>:$offset, Variadic<Index>:$sizes);
  let results = (outs AnyStridedMemRef:$result);
  let assemblyFormat = [{
    $space $number (`at` $offset^)? (`sizes` `(` $sizes^ `)`)? attr-dict `:` type($result)
  }];
}

def Mv_PreparedOp : Mv_Op<"prepared", [Pure]> {
  let summary = "a tensor that the module's prepare function makes";
  let description = [{
    `offset` bytes into the prepared memory, which is written once per load and
    the same for all sessions (see compiler/buffers/HoistPrepared.cpp).
  }];
  let arguments = (ins I64Attr:$offset);
  let results = (outs AnyStaticShapeTensor:$result);
  let assemblyFormat = "`at` $offset attr-dict `:` type($result)";
}

def Mv_SetOutputOp : Mv_Op<"set_output"> {
  let summary = "result `number` of the call, of a size that depends on data";
  let description = [{
    Hands `source`, contiguous memory that lives until the session's next
    invoke, to the caller with its dims.
  }];
  let arguments = (ins I64Attr:$number, AnyStridedMemRef:$source);
  let assemblyFormat = "$number `,` $source attr-dict `:` type($source)";
}

def Mv_InputDimOp : Mv_Op<"input_dim", [Pure]> {
  let summary = "dim `dim` of input `input` of the current call";
  let arguments = (ins I64Attr:$input, I64Attr:$dim);
  let results = (outs Index:$result);
  let assemblyFormat = "$input $dim attr-dict";
}

#endif // MARVER_IR_MVOPS_TD
