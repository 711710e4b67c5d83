// SPDX-License-Identifier: Apache-2.0
#include "quanto/ops/conv2d_geometry.h"

#include <algorithm>

#include "quanto/core/error.h"

namespace quanto::ops {
namespace {

void check_pair(const char* op, const char* name, Sizes pair, int64_t least) {
  const bool enough = std::ranges::all_of(
      pair, [least](int64_t value) { return value >= least; });
  check_value(pair.size() == 2 && enough,
              "{}: expected {} of 2 numbers of at least {}, got {}", op, name,
              least, Shape{pair});
}

/// Places of a window of `kernel` taps along one dimension.
int64_t places(int64_t input, int64_t kernel, int64_t stride, int64_t padding,
               int64_t dilation) {
  const int64_t free = input + 2 * padding - dilation * (kernel - 1) - 1;
  return free < 0 ? 0 : free / stride + 1;
}

Pair pair_of(Sizes sizes) { return {sizes[0], sizes[1]}; }

}  // namespace

void check_conv_options(const char* op, Sizes size, Sizes stride, Sizes padding,
                        Sizes dilation, int64_t groups) {
  check_value(size.size() == 4 &&
                  std::ranges::all_of(size, [](int64_t s) { return s > 0; }),
              "{}: expected size of 4 numbers of at least 1, got {}", op,
              Shape{size});
  check_pair(op, "stride", stride, 1);
  check_pair(op, "padding", padding, 0);
  check_pair(op, "dilation", dilation, 1);
  check_value(groups > 0 && size[0] % groups == 0,
              "{}: expected groups to divide {} outputs, got {}", op, size[0],
              groups);
}

ConvGeometry conv_geometry(const char* op, Sizes input, Sizes size,
                           Sizes stride, Sizes padding, Sizes dilation,
                           int64_t groups) {
  check_value(input.size() == 3 || input.size() == 4,
              "{}: expected an input of 3 or 4 dimensions, got {}", op,
              input.size());
  const bool batched = input.size() == 4;
  const Sizes image = input.last(3);
  check_value(image[0] == size[1] * groups,
              "{}: expected an input of {} channels, got shape {}", op,
              size[1] * groups, Shape{input});
  ConvGeometry conv{};
  conv.images = batched ? input[0] : 1;
  conv.channels = image[0];
  conv.input = pair_of(image.last(2));
  conv.outputs = size[0];
  conv.groups = groups;
  conv.kernel = pair_of(size.last(2));
  conv.stride = pair_of(stride);
  conv.padding = pair_of(padding);
  conv.dilation = pair_of(dilation);
  conv.output = {places(conv.input.y, conv.kernel.y, conv.stride.y,
                        conv.padding.y, conv.dilation.y),
                 places(conv.input.x, conv.kernel.x, conv.stride.x,
                        conv.padding.x, conv.dilation.x)};
  conv.batched = batched;
  check_value(conv.output_pixels() > 0,
              "{}: expected an image at least as large as the kernel of "
              "({}, {}) with its dilation, got shape {} and padding {}",
              op, conv.kernel.y, conv.kernel.x, Shape{input}, Shape{padding});
  return conv;
}

}  // namespace quanto::ops
