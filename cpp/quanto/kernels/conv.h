// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/kernels.h"

// The contract of Conv, a convolution without patches: every output plane is a
// sum of shifted input planes, in fp32.

namespace quanto::kernels {

/// A size, a step or a place in an image: rows, then columns.
struct Pair {
  int64_t y;
  int64_t x;
};

/// A two-dimensional convolution with zero padding, whose output is not empty.
struct ConvProblem {
  int64_t images;
  int64_t groups;
  int64_t channels;  ///< of the input, in a group
  int64_t outputs;   ///< channels of the output, in a group
  Pair input;
  Pair kernel;
  Pair stride;
  Pair padding;
  Pair dilation;
  Pair output;
  DType dtype;             ///< of the input: `activation`, or codes
  InputScale input_scale;  ///< kRow: one for each image
  DType activation;        ///< of the output
  DType taps_dtype = DType::kFloat32;

  /// Taps of one output.
  [[nodiscard]] int64_t taps() const { return channels * kernel.y * kernel.x; }
};

/// Outputs of a group whose taps lie side by side.
constexpr int64_t kConvOutputs = 4;

/// Contiguous planes: input [images][groups * channels], output [images]
/// [groups * outputs]. `scale` and `bias` have a value for each output of all
/// groups.
struct ConvArgs {
  const void* input;
  const float* input_scale;  ///< none, 1 or `images` values
  const void* taps;
  const float* scale;
  const float* bias;  ///< or null
  void* output;
};

/// output = sum * scale * input_scale + bias, each step rounded to fp32, the
/// result to `activation`.
///
/// `conv`: `taps` are fp32, those of blocks of kConvOutputs outputs of a group,
/// the last with what is left: [groups][block][taps][outputs of the block]. The
/// sum is a chain of fused multiply-adds over channels, kernel rows and kernel
/// columns, in this order, zeros of the padding included: every instruction set
/// gives the same.
///
/// `conv_tiles`: input and output are bfloat16, a group has an even number of
/// channels. `taps` are [groups][outputs][taps] of `taps_dtype`, fp32 rounded
/// to bfloat16. Sums are of fp32, in any order; what is left below 2^-125 of an
/// input or a tap may be lost.

}  // namespace quanto::kernels
