// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/conv.h"
#include "quanto/ops/tensor.h"

namespace quanto::ops {

using kernels::Pair;

/// A two-dimensional convolution with zero padding.
struct ConvGeometry {
  int64_t images;
  int64_t channels;
  Pair input;
  int64_t outputs;  ///< channels of the result
  int64_t groups;
  Pair kernel;
  Pair stride;
  Pair padding;
  Pair dilation;
  Pair output;
  bool batched;  ///< input and result have a dimension for the images

  [[nodiscard]] int64_t group_channels() const { return channels / groups; }
  [[nodiscard]] int64_t group_outputs() const { return outputs / groups; }
  [[nodiscard]] int64_t input_pixels() const { return input.y * input.x; }
  [[nodiscard]] int64_t output_pixels() const { return output.y * output.x; }
  /// Elements of the weight of one output.
  [[nodiscard]] int64_t elements() const {
    return group_channels() * kernel.y * kernel.x;
  }
};

/// Throws unless these are what a convolution has, whatever the input's sizes.
void check_conv_options(const char* op, Sizes size, Sizes stride, Sizes padding,
                        Sizes dilation, int64_t groups);

/// The convolution of an input of shape `input`, with options that were
/// checked; throws if they do not go together.
ConvGeometry conv_geometry(const char* op, Sizes input, Sizes size,
                           Sizes stride, Sizes padding, Sizes dilation,
                           int64_t groups);

}  // namespace quanto::ops
