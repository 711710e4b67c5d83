// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/conv.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "quanto/kernels/ref/element.h"
#include "quanto/kernels/ref/functions.h"

namespace quanto::kernels::ref {
namespace {

/// An output plane of an image, and its taps.
struct Plane {
  int64_t image;
  int64_t group;
  int64_t output;  ///< of the group

  Plane(const ConvProblem& problem, int64_t index)
      : image(index / (problem.groups * problem.outputs)),
        group(index / problem.outputs % problem.groups),
        output(index % problem.outputs) {}

  [[nodiscard]] int64_t output_of_all(const ConvProblem& problem) const {
    return group * problem.outputs + output;
  }

  /// Tap number `tap` of the plane's output.
  [[nodiscard]] float tap(const ConvProblem& problem, const float* taps,
                          int64_t tap) const {
    const int64_t first = output / kConvOutputs * kConvOutputs;
    const int64_t width = std::min(kConvOutputs, problem.outputs - first);
    return taps[(group * problem.outputs + first) * problem.taps() +
                tap * width + output - first];
  }
};

template <typename Input>
float input_at(const ConvProblem& problem, const ConvArgs& args, int64_t plane,
               int64_t y, int64_t x) {
  const bool inside =
      y >= 0 && y < problem.input.y && x >= 0 && x < problem.input.x;
  if (!inside) return 0;
  return Input::load(args.input,
                     (plane * problem.input.y + y) * problem.input.x + x);
}

template <typename Input>
float sum_at(const ConvProblem& problem, const ConvArgs& args,
             const Plane& plane, int64_t y, int64_t x) {
  const int64_t first =
      (plane.image * problem.groups + plane.group) * problem.channels;
  float sum = 0;
  for (int64_t tap = 0; tap < problem.taps(); ++tap) {
    const int64_t j = tap % problem.kernel.x;
    const int64_t i = tap / problem.kernel.x % problem.kernel.y;
    const int64_t channel = tap / (problem.kernel.x * problem.kernel.y);
    const float value = input_at<Input>(
        problem, args, first + channel,
        y * problem.stride.y + i * problem.dilation.y - problem.padding.y,
        x * problem.stride.x + j * problem.dilation.x - problem.padding.x);
    sum = std::fma(
        value, plane.tap(problem, static_cast<const float*>(args.taps), tap),
        sum);
  }
  return sum;
}

float scaled(const ConvProblem& problem, const ConvArgs& args,
             const Plane& plane, float sum) {
  const int64_t output = plane.output_of_all(problem);
  float value = sum * args.scale[output];
  if (problem.input_scale != InputScale::kNone) {
    const bool row = problem.input_scale == InputScale::kRow;
    value *= args.input_scale[row ? plane.image : 0];
  }
  return args.bias == nullptr ? value : value + args.bias[output];
}

template <typename Input, typename Output>
void write_plane(const ConvProblem& problem, const ConvArgs& args,
                 int64_t index) {
  const Plane plane(problem, index);
  const int64_t pixels = problem.output.y * problem.output.x;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const float sum =
        sum_at<Input>(problem, args, plane, pixel / problem.output.x,
                      pixel % problem.output.x);
    Output::store(args.output, index * pixels + pixel,
                  scaled(problem, args, plane, sum));
  }
}

template <typename F>
void with_input(DType dtype, F&& f) {
  if (is_activation(dtype)) {
    with_activation(dtype, std::forward<F>(f));
  } else {
    with_storage(dtype, std::forward<F>(f));
  }
}

}  // namespace

void conv(const ConvProblem& problem, const ConvArgs& args,
          Executor& executor) {
  with_input(problem.dtype, [&](auto input) {
    with_activation(problem.activation, [&](auto output) {
      executor.parallel_for(problem.images * problem.groups * problem.outputs,
                            1, [&](int64_t begin, int64_t end) {
                              for (int64_t plane = begin; plane < end;
                                   ++plane) {
                                write_plane<decltype(input), decltype(output)>(
                                    problem, args, plane);
                              }
                            });
    });
  });
}

}  // namespace quanto::kernels::ref
