// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/conv2d_way.h"

#include "quanto/kernels/cpu/dispatch.h"

namespace quanto::ops {
namespace {

using kernels::LinearProblem;

/// Outputs of a group up to which its tiles would be mostly empty.
constexpr int64_t kFewOutputs = 16;
/// Pixels of an image for each output of a group that pay for decoding its taps
/// whole; the way, and so a result, does not depend on how many images come.
constexpr int64_t kManyPixels = 8;
/// The most taps that are decoded whole.
constexpr int64_t kMostTaps = 1 << 20;
/// The stride up to which vectors take the columns of a row apart.
constexpr int64_t kLongestStride = 2;

/// Whether conv2d_direct is the faster way: it multiplies in fp32, so where
/// groups fill the tiles, only if these do no better than that.
bool sums_planes(const ConvGeometry& conv, LinearProblem problem) {
  if (conv.groups > 1 &&
      (conv.group_channels() == 1 || conv.group_outputs() <= kFewOutputs)) {
    return true;
  }
  problem.m = conv.output_pixels();
  if (problem.n * problem.k > kMostTaps || conv.stride.x > kLongestStride ||
      problem.m < kManyPixels * conv.group_outputs()) {
    return false;
  }
  problem.n = conv.group_outputs();
  return problem.input == DType::kFloat32 ||
         kernels::plan_linear(kernels::kernels(), problem).name == "panel";
}

/// Channels of a group, and these times its outputs, from which tiles, though
/// mostly empty, are faster than sums in fp32.
constexpr int64_t kFewestTileChannels = 8;
constexpr int64_t kFewestTileWeights = 256;
/// Pixels that pay for rounding packed weights, as rows of a linear layer do.
constexpr int64_t kFewestPixels = 96;

/// Whether conv2d_in_tiles takes it. Packed weights are then rounded to
/// bfloat16, as a linear layer's are.
bool fills_tiles(const ConvGeometry& conv, const LinearProblem& problem) {
  return kernels::kernels().conv_tiles != nullptr &&
         problem.input == DType::kBFloat16 &&
         (problem.shift == kernels::ShiftKind::kNone ||
          problem.scale == DType::kBFloat16) &&
         conv.group_channels() % 2 == 0 &&
         conv.group_channels() >= kFewestTileChannels &&
         conv.group_channels() * conv.group_outputs() >= kFewestTileWeights &&
         problem.n * problem.k <= kMostTaps &&
         conv.output_pixels() >= kFewestPixels;
}

}  // namespace

ConvWay conv_way(const ConvGeometry& conv, const LinearProblem& problem) {
  if (fills_tiles(conv, problem)) return ConvWay::kTiles;
  return sums_planes(conv, problem) ? ConvWay::kPlanes : ConvWay::kPatches;
}

std::string_view conv_kernel(const ConvGeometry& conv, LinearProblem problem) {
  switch (conv_way(conv, problem)) {
    case ConvWay::kTiles:
      return "conv_tiles";
    case ConvWay::kPlanes:
      return "conv_planes";
    default:
      problem.m = conv.output_pixels();
      problem.n = conv.group_outputs();
      return kernels::plan_linear(kernels::kernels(), problem).name;
  }
}

}  // namespace quanto::ops
