// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/amx_config.h"
#include "quanto/kernels/cpu/conv_output.h"
#include "quanto/kernels/cpu/conv_planes.h"
#include "quanto/kernels/cpu/conv_tile_taps.h"
#include "quanto/kernels/cpu/tables.h"

// A convolution of bfloat16 in tile registers: planes of pairs of channels are
// one side of the product as they lie, with a tap's run of sixteen positions in
// each row of a tile; the other are the taps. The sums are rows of the output.

namespace quanto::kernels {
namespace {

/// Tiles of planes and of taps that are multiplied by one another.
constexpr int64_t kConvPositions = 2 * kAmxWidth;
constexpr int64_t kConvBlock = 2 * kTileOutputs;
/// Products of pairs that are worth a thread.
constexpr int64_t kTileThreadWork = int64_t{1} << 18;

/// Loads two channels as one plane of bfloat16 pairs, in lanes of 32 bits.
struct PairLoader {
  const uint16_t* input;
  int64_t plane;  ///< elements from a channel to the next

  Vec operator()(int64_t i, int count) const {
    const uint16_t* first = input + i;
    const uint16_t* second = first + plane;
    const bool all = count == kLanes;
    const Vec low = all ? load_bf16(first) : load_bf16_tail(first, count);
    const Vec high = all ? load_bf16(second) : load_bf16_tail(second, count);
    return as_float(ior(shift_right(as_int(low), 16), as_int(high)));
  }
};

/// Pairs of channels, up to whole tiles.
int64_t padded_pairs(const ConvProblem& pairs) {
  return round_up(pairs.channels, kAmxRows);
}

/// The bands of planes of pairs, from one to the next an odd number of lines of
/// the cache: the rows of a tile would push one another out of it.
BandPlan plan_pair_bands(const ConvProblem& pairs) {
  BandPlan plan = plan_bands(pairs);
  plan.channel_floats =
      (ceil_div(plan.channel_floats, kAmxWidth) | 1) * kAmxWidth;
  return plan;
}

/// What one product takes.
struct TileSums {
  const float* planes;
  int64_t plane_bytes;
  const int64_t* offsets;  ///< of taps
  int64_t taps;
  int64_t chunks;  ///< of kTileChannels
  const uint16_t* weights;
  float* sums;
  int64_t sums_bytes;  ///< from output to output
};

/// The sums of kTiles * kTileOutputs outputs at kConvPositions positions.
template <int kTiles>
QUANTO_NOINLINE void sum_tiles(const TileSums& in) {
  // The intrinsics that load tiles do not say that they read memory.
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  const int64_t products = in.chunks * in.taps;
  const uint16_t* upper = in.weights;
  const uint16_t* lower = upper + products * kTapTile;
  const auto* chunk = reinterpret_cast<const std::byte*>(in.planes);
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (kTiles == 2) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t c = 0; c < in.chunks; ++c) {
    for (int64_t t = 0; t < in.taps; ++t) {
      const auto* run = reinterpret_cast<const float*>(chunk) + in.offsets[t];
      _tile_loadd(4, upper, kAmxWidth * 4);
      _tile_loadd(6, run, in.plane_bytes);
      _tile_loadd(7, run + kAmxWidth, in.plane_bytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      upper += kTapTile;
      if constexpr (kTiles == 2) {
        _tile_loadd(5, lower, kAmxWidth * 4);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        lower += kTapTile;
      }
    }
    chunk += kAmxRows * in.plane_bytes;
  }
  _tile_stored(0, in.sums, in.sums_bytes);
  _tile_stored(1, in.sums + kAmxWidth, in.sums_bytes);
  if constexpr (kTiles == 2) {
    float* below = in.sums + kAmxRows * in.sums_bytes / 4;
    _tile_stored(2, below, in.sums_bytes);
    _tile_stored(3, below + kAmxWidth, in.sums_bytes);
  }
}

/// The bands of all images and groups, with a thread's memory.
class TileBands {
 public:
  /// `pairs` is `problem` with pairs of channels for its channels.
  TileBands(const ConvProblem& problem, const ConvProblem& pairs,
            const ConvArgs& args, const TileTaps& taps, const uint16_t* weights,
            const BandPlan& plan, Executor& executor)
      : problem_(problem),
        args_(args),
        taps_(taps),
        weights_(weights),
        plan_(plan),
        sums_stride_(round_up(plan.sums(problem, plan.rows), kConvPositions)),
        planes_(pairs, plan,
                {static_cast<const uint16_t*>(args.input),
                 problem.input.y * problem.input.x}) {
    take_memory(pairs, executor);
  }

  void run(int64_t index) const {
    const int64_t first = index % plan_.count * plan_.rows;
    const int64_t rows = smaller(plan_.rows, problem_.output.y - first);
    const int64_t group = index / plan_.count;  // of all images
    planes_.write(group * problem_.channels, 2, first, memory_);
    for (int64_t o = 0; o < problem_.outputs; o += kConvBlock) {
      const int64_t width = smaller(kConvBlock, problem_.outputs - o);
      const int64_t of_image = group % problem_.groups;
      sum_block(of_image, o, width, plan_.sums(problem_, rows));
      for (int64_t i = 0; i < width; ++i) {
        store_rows<DType::kBFloat16>(problem_, args_, plan_.pitch,
                                     group / problem_.groups,
                                     of_image * problem_.outputs + o + i, first,
                                     rows, sums_ + i * sums_stride_);
      }
    }
  }

 private:
  /// Planes, read up to kConvPositions past the last, then sums and offsets.
  /// Planes that no channel fills stay 0.
  void take_memory(const ConvProblem& pairs, Executor& executor) {
    const int64_t used = pairs.channels * plan_.channel_floats;
    const int64_t planes =
        padded_pairs(pairs) * plan_.channel_floats + kConvPositions;
    const int64_t sums = kConvBlock * sums_stride_;
    std::byte* memory =
        executor.scratch(static_cast<size_t>(planes + sums) * sizeof(float) +
                         static_cast<size_t>(taps_.places()) * sizeof(int64_t));
    memory_ = reinterpret_cast<float*>(memory);
    sums_ = memory_ + planes;
    offsets_ = reinterpret_cast<int64_t*>(sums_ + sums);
    for (int64_t i = used; i < planes; ++i) memory_[i] = 0;
    for (int64_t t = 0; t < taps_.places(); ++t) {
      offsets_[t] =
          plan_.offset(pairs, 0, t / problem_.kernel.x, t % problem_.kernel.x);
    }
  }

  void sum_block(int64_t group, int64_t output, int64_t width,
                 int64_t positions) const {
    const int64_t tile = group * taps_.tiles() + output / kTileOutputs;
    TileSums part = {memory_,        plan_.channel_floats * 4,
                     offsets_,       taps_.places(),
                     taps_.chunks(), weights_ + tile * taps_.tile_size(),
                     sums_,          sums_stride_ * 4};
    const auto sum = width > kTileOutputs ? sum_tiles<2> : sum_tiles<1>;
    for (int64_t p = 0; p < positions; p += kConvPositions) {
      sum(part);
      part.planes += kConvPositions;
      part.sums += kConvPositions;
    }
  }

  const ConvProblem& problem_;
  const ConvArgs& args_;
  const TileTaps& taps_;
  const uint16_t* weights_;
  const BandPlan& plan_;
  int64_t sums_stride_;
  BandPlanes<PairLoader> planes_;
  float* memory_;
  float* sums_;
  int64_t* offsets_;
};

void conv_tiles(const ConvProblem& problem, const ConvArgs& args,
                Executor& executor) {
  ConvProblem pairs = problem;
  pairs.channels = problem.channels / 2;
  const BandPlan plan = plan_pair_bands(pairs);
  const TileTaps taps(problem, args.taps);
  auto* weights = reinterpret_cast<uint16_t*>(executor.workspace(
      static_cast<size_t>(problem.groups * taps.tiles() * taps.tile_size()) *
      sizeof(uint16_t)));
  taps.write(weights, executor);
  const int64_t work =
      problem.outputs * pairs.taps() * plan.rows * problem.output.x;
  executor.parallel_for(problem.images * problem.groups * plan.count,
                        ceil_div(kTileThreadWork, work),
                        [&](int64_t begin, int64_t end) {
                          const TileBands bands(problem, pairs, args, taps,
                                                weights, plan, executor);
                          _tile_loadconfig(&kAmxConfig);
                          for (int64_t i = begin; i < end; ++i) bands.run(i);
                          _tile_release();
                        });
}

}  // namespace

Conv QUANTO_FOR_ISA(conv)() { return conv_tiles; }

}  // namespace quanto::kernels
