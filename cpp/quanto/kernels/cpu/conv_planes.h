// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/conv.h"
#include "quanto/kernels/cpu/linear_input.h"

// The input planes of a band of output rows in fp32, with their padding, cut
// into phases: those rows, and of them those columns, that one tap meets as the
// kernel moves by its stride. Under each tap a band is then one run of memory,
// whatever the geometry; where its rows meet, it holds a few elements that
// belong to no output.

namespace quanto::kernels {
namespace {

/// Lanes 0, 2, 4 and so on of a, then of b.
inline Vec even_lanes(Vec a, Vec b) {
#ifdef QUANTO_HAS_AVX512
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20,
                                         22, 24, 26, 28, 30);
  return {_mm512_permutex2var_ps(a.v, even, b.v)};
#elif defined(__aarch64__)
  return {vuzp1q_f32(a.lo, a.hi), vuzp1q_f32(b.lo, b.hi)};
#else
  const __m256 mixed = _mm256_shuffle_ps(a.v, b.v, _MM_SHUFFLE(2, 0, 2, 0));
  return {_mm256_castpd_ps(
      _mm256_permute4x64_pd(_mm256_castps_pd(mixed), _MM_SHUFFLE(3, 1, 2, 0)))};
#endif
}

/// Floats of a band: within the second cache of every CPU.
constexpr int64_t kBandFloats = int64_t{1} << 15;

/// Phases that the taps along one dimension fall into.
constexpr int64_t phases(int64_t stride, int64_t kernel, int64_t dilation) {
  return smaller(stride, (kernel - 1) * dilation + 1);
}

/// How a group's planes are cut; all bands are laid out alike.
struct BandPlan {
  int64_t rows;        ///< output rows of a band
  int64_t count;       ///< bands of an image
  int64_t phase_rows;  ///< of a channel
  int64_t pitch;       ///< of the rows of a phase, and of the sums
  Pair phases;
  int64_t channel_floats;  ///< from channel to channel

  [[nodiscard]] int64_t phase_floats() const { return phase_rows * pitch; }
  /// Sums of `band_rows` rows, those between the rows included.
  [[nodiscard]] int64_t sums(const ConvProblem& problem,
                             int64_t band_rows) const {
    return (band_rows - 1) * pitch + problem.output.x;
  }
  /// Where the run of a tap starts.
  [[nodiscard]] int64_t offset(const ConvProblem& problem, int64_t channel,
                               int64_t y, int64_t x) const {
    const int64_t down = y * problem.dilation.y;
    const int64_t right = x * problem.dilation.x;
    return channel * channel_floats +
           (down % problem.stride.y * phases.x + right % problem.stride.x) *
               phase_floats() +
           down / problem.stride.y * pitch + right / problem.stride.x;
  }
};

inline BandPlan plan_bands(const ConvProblem& problem) {
  const int64_t below =
      (problem.kernel.y - 1) * problem.dilation.y / problem.stride.y;
  const int64_t beside =
      (problem.kernel.x - 1) * problem.dilation.x / problem.stride.x;
  BandPlan plan;
  plan.phases = {
      phases(problem.stride.y, problem.kernel.y, problem.dilation.y),
      phases(problem.stride.x, problem.kernel.x, problem.dilation.x)};
  plan.pitch = problem.output.x + beside;
  const int64_t row_floats =
      problem.channels * plan.phases.y * plan.phases.x * plan.pitch;
  const int64_t rows = larger(kBandFloats / row_floats, 2 * below + 1) - below;
  plan.count = ceil_div(problem.output.y, rows);
  plan.rows = ceil_div(problem.output.y, plan.count);
  plan.phase_rows = plan.rows + below;
  plan.channel_floats = plan.phases.y * plan.phases.x * plan.phase_floats();
  return plan;
}

/// `count` <= kLanes elements of what `load_at` loads, kStride apart from `at`
/// on (0: `stride` apart), the other lanes 0.
template <int kStride, typename Load>
inline Vec load_strided(Load load_at, int64_t at, int64_t stride, int count) {
  if constexpr (kStride == 1) {
    return load_at(at, count);
  } else if constexpr (kStride == 2) {
    const int span = 2 * count - 1;
    const Vec low = load_at(at, static_cast<int>(smaller(span, kLanes)));
    if (span <= kLanes) return even_lanes(low, zero());
    return even_lanes(low, load_at(at + kLanes, span - kLanes));
  } else {
    float lanes[kLanes] = {};
    for (int i = 0; i < count; ++i) {
      store_tail(lanes + i, load_at(at + i * stride, 1), 1);
    }
    return load(lanes);
  }
}

/// Writes the planes of one band. Whole vectors are stored, in the order of
/// memory: what is past the end of a row is overwritten by the next, and as
/// zeros behind the last.
template <typename Load>
class BandPlanes {
 public:
  BandPlanes(const ConvProblem& problem, const BandPlan& plan, Load load)
      : problem_(problem), plan_(plan), load_(load) {}

  /// The group's planes start with input plane `plane`, and are `step` apart.
  void write(int64_t plane, int64_t step, int64_t first_row, float* out) const {
    const int64_t top = first_row * problem_.stride.y - problem_.padding.y;
    for (int64_t c = 0; c < problem_.channels; ++c) {
      float* phase = out + c * plan_.channel_floats;
      for (int64_t y = 0; y < plan_.phases.y; ++y) {
        for (int64_t x = 0; x < plan_.phases.x; ++x) {
          write_phase(plane + c * step, top + y, x - problem_.padding.x, phase);
          phase += plan_.phase_floats();
        }
      }
    }
  }

 private:
  /// The phase of an input plane whose first element is at row y, column x.
  void write_phase(int64_t plane, int64_t y, int64_t x, float* out) const {
    switch (problem_.stride.x) {
      case 1:
        return write_rows<1>(plane, y, x, out);
      case 2:
        return write_rows<2>(plane, y, x, out);
      default:
        return write_rows<0>(plane, y, x, out);
    }
  }

  template <int kStride>
  void write_rows(int64_t plane, int64_t y, int64_t x, float* out) const {
    // Elements [begin, end) of a row lie in the image.
    const int64_t stride = kStride == 0 ? problem_.stride.x : kStride;
    const int64_t begin = smaller(plan_.pitch, ceil_div(larger(0, -x), stride));
    const int64_t end =
        smaller(plan_.pitch, ceil_div(larger(0, problem_.input.x - x), stride));
    for (int64_t r = 0; r < plan_.phase_rows; ++r) {
      const bool inside = y >= 0 && y < problem_.input.y;
      const int64_t row = (plane * problem_.input.y + y) * problem_.input.x + x;
      write_row<kStride>(row, stride, begin, inside ? end : begin, out);
      y += problem_.stride.y;
      out += plan_.pitch;
    }
  }

  template <int kStride>
  void write_row(int64_t row, int64_t stride, int64_t begin, int64_t end,
                 float* out) const {
    for (int64_t i = 0; i < begin; i += kLanes) store(out + i, zero());
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      store(out + i,
            load_strided<kStride>(load_, row + i * stride, stride, kLanes));
    }
    if (i < end) {
      store(out + i, load_strided<kStride>(load_, row + i * stride, stride,
                                           static_cast<int>(end - i)));
      i += kLanes;
    }
    for (; i < plan_.pitch; i += kLanes) store(out + i, zero());
  }

  const ConvProblem& problem_;
  const BandPlan& plan_;
  Load load_;
};

}  // namespace
}  // namespace quanto::kernels
