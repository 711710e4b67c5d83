// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "quanto/kernels/kernels.h"
#include "quanto/ops/conv2d_geometry.h"

namespace quanto::ops {

/// How a convolution runs: conv2d_in_tiles, conv2d_direct or conv2d_by_tiles
/// (conv2d_run.h).
enum class ConvWay : uint8_t { kTiles, kPlanes, kPatches };

/// `problem` is the linear problem of all outputs. Of the geometry it takes
/// channels, groups, kernel, stride, and the pixels of one output plane.
ConvWay conv_way(const ConvGeometry& conv,
                 const kernels::LinearProblem& problem);

/// The name of that: conv_tiles, conv_planes, or the linear kernel that
/// multiplies patches.
std::string_view conv_kernel(const ConvGeometry& conv,
                             kernels::LinearProblem problem);

}  // namespace quanto::ops
