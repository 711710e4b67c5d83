// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "quanto/kernels/cpu/dispatch.h"
#include "quanto/ops/conv2d_patches.h"
#include "quanto/ops/conv2d_run.h"
#include "quanto/ops/conv2d_weights.h"
#include "quanto/ops/transpose.h"

namespace quanto::ops {
namespace {

using kernels::InputScale;
using kernels::LinearArgs;
using kernels::LinearProblem;

/// Patches of a tile: about what a core's second-level cache holds, but enough
/// rows to pay for decoding the weight, which each tile does.
constexpr int64_t kTileBytes = 1 << 20;
constexpr int64_t kFewestPixels = 128;
constexpr int64_t kMostPixels = 1024;

/// Pixels of a tile; they do not depend on the number of threads, and nor does
/// therefore any result.
int64_t pixels_of_tile(const ConvGeometry& conv, int64_t patch_bytes) {
  const int64_t pixels =
      std::clamp(kTileBytes / patch_bytes, kFewestPixels, kMostPixels);
  return std::min(pixels, conv.images * conv.output_pixels());
}

/// Memory of one tile.
struct TileMemory {
  Temporary window;
  Temporary patches;
  Temporary result;
  Temporary codes;
  std::vector<float> scales;
};

class Tiles {
 public:
  Tiles(const ConvCall& call, const KernelInput& input,
        const GroupWeights& weights, std::byte* out)
      : call_(call),
        conv_(call.conv),
        input_(input),
        weights_(weights),
        out_(out),
        patches_(call.conv, size_of(call.problem.input)),
        patch_bytes_(conv_.elements() * size_of(call.problem.input)),
        pixels_(pixels_of_tile(conv_, patch_bytes_)),
        total_(conv_.images * conv_.output_pixels()) {}

  /// Tiles of all groups.
  [[nodiscard]] int64_t count() const {
    return (total_ + pixels_ - 1) / pixels_ * conv_.groups;
  }

  [[nodiscard]] TileMemory memory() const {
    const int64_t results = pixels_ * conv_.group_outputs();
    TileMemory memory;
    memory.window = bytes(patches_.window_bytes(pixels_));
    memory.patches = bytes(pixels_ * patch_bytes_);
    memory.result = bytes(results * size_of(call_.problem.activation));
    if (call_.activations.output_scale) memory.codes = bytes(results);
    memory.scales.resize(static_cast<size_t>(pixels_));
    return memory;
  }

  void run(int64_t tile, TileMemory& memory, Executor& executor) const {
    const int64_t group = tile % conv_.groups;
    const int64_t begin = tile / conv_.groups * pixels_;
    const int64_t end = std::min(total_, begin + pixels_);
    gather(begin, end, group, memory, executor);
    multiply(end - begin, group, memory, executor);
    const std::byte* rows = memory.result.data();
    if (call_.activations.output_scale) {
      quantize_output(call_.activations, call_.problem.activation, rows,
                      (end - begin) * conv_.group_outputs(),
                      memory.codes.data(), executor);
      rows = memory.codes.data();
    }
    scatter(begin, end, group, rows);
  }

 private:
  static Temporary bytes(int64_t count) {
    return Temporary(static_cast<size_t>(count));
  }

  /// Calls visit(image, first, last, at) for each image's pixels among
  /// [begin, end) of all images; `at` is the place of the first in the tile.
  template <typename Visit>
  void for_images(int64_t begin, int64_t end, const Visit& visit) const {
    const int64_t pixels = conv_.output_pixels();
    for (int64_t pixel = begin; pixel < end;) {
      const int64_t image = pixel / pixels, first = pixel % pixels;
      const int64_t last = std::min(pixels, first + end - pixel);
      visit(image, first, last, pixel - begin);
      pixel += last - first;
    }
  }

  void gather(int64_t begin, int64_t end, int64_t group, TileMemory& memory,
              Executor& executor) const {
    const int64_t plane_bytes =
        conv_.input_pixels() * size_of(call_.problem.input);
    for_images(begin, end,
               [&](int64_t image, int64_t first, int64_t last, int64_t at) {
                 const int64_t plane =
                     image * conv_.channels + group * conv_.group_channels();
                 patches_.write(static_cast<const std::byte*>(input_.data()) +
                                    plane * plane_bytes,
                                first, last, memory.window.data(),
                                memory.patches.data() + at * patch_bytes_,
                                executor);
                 if (call_.problem.input_scale == InputScale::kRow) {
                   std::fill_n(memory.scales.data() + at, last - first,
                               input_.scale()[image]);
                 }
               });
  }

  void multiply(int64_t pixels, int64_t group, TileMemory& memory,
                Executor& executor) const {
    LinearProblem problem = call_.problem;
    problem.m = pixels;
    problem.n = conv_.group_outputs();
    LinearArgs args{};
    args.input = memory.patches.data();
    args.input_scale = problem.input_scale == InputScale::kRow
                           ? memory.scales.data()
                           : input_.scale();
    weights_.set(group, &args);
    if (call_.bias != nullptr) {
      args.bias = static_cast<const std::byte*>(call_.bias) +
                  group * problem.n * size_of(problem.activation);
    }
    args.output = memory.result.data();
    kernels::plan_linear(kernels::kernels(), problem)
        .run(problem, args, executor);
  }

  void scatter(int64_t begin, int64_t end, int64_t group,
               const std::byte* rows) const {
    const int64_t size = size_of(call_.dtype());
    const int64_t outputs = conv_.group_outputs();
    const int64_t pixels = conv_.output_pixels();
    for_images(begin, end,
               [&](int64_t image, int64_t first, int64_t last, int64_t at) {
                 const int64_t plane = image * conv_.outputs + group * outputs;
                 transpose_into_planes(rows + at * outputs * size, last - first,
                                       outputs, size, pixels,
                                       out_ + (plane * pixels + first) * size);
               });
  }

  const ConvCall& call_;
  const ConvGeometry& conv_;
  const KernelInput& input_;
  const GroupWeights& weights_;
  std::byte* out_;
  Patches patches_;
  int64_t patch_bytes_;
  int64_t pixels_;
  int64_t total_;
};

}  // namespace

Tensor conv2d_by_tiles(const ConvCall& call, Executor& executor) {
  const ConvGeometry& conv = call.conv;
  const KernelInput input(call.activations, call.problem, conv.images,
                          conv.channels * conv.input_pixels(), executor);
  const GroupWeights weights(call, executor);
  Tensor out = empty(call.shape, call.dtype());
  const Tiles tiles(call, input, weights,
                    static_cast<std::byte*>(out.mutable_data_ptr()));
  const auto run = [&](int64_t begin, int64_t end, Executor& inner) {
    TileMemory memory = tiles.memory();
    for (int64_t tile = begin; tile < end; ++tile) {
      tiles.run(tile, memory, inner);
    }
  };
  // A body of parallel_for starts no threads: either tiles run side by side, or
  // threads share each of them.
  if (tiles.count() < executor.threads()) {
    run(0, tiles.count(), executor);
    return out;
  }
  executor.parallel_for(tiles.count(), 1, [&](int64_t begin, int64_t end) {
    SerialExecutor serial;
    run(begin, end, serial);
  });
  return out;
}

}  // namespace quanto::ops
